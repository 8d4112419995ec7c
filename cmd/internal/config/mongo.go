package config

import (
	"net/url"
	"strings"
	"time"

	"go.mongodb.org/mongo-driver/v2/mongo/options"

	"github.com/outboxd/outboxd/providers"
)

// Defaults of the connection to MongoDB.
const (
	DefaultURI            = "mongodb://127.0.0.1:27017/?replicaSet=rs0"
	DefaultDatabase       = "outbox"
	DefaultCollection     = "outbox"
	DefaultConnectTimeout = "30s"
)

// VariableURI is the variable that holds the connection string.
const VariableURI = "OUTBOXD_MONGODB_URI"

// Mongo says where the outbox is.
type Mongo struct {
	URI            providers.Secret // it may hold a password
	Database       string
	Collection     string
	ConnectTimeout time.Duration // for the server to answer with a primary
}

// LoadMongo reads how to reach the outbox.
func LoadMongo(src Source) (Mongo, error) {
	r := &reader{Source: src}
	m := Mongo{ConnectTimeout: r.duration(setting{"connect-timeout", "OUTBOXD_CONNECT_TIMEOUT", DefaultConnectTimeout}, time.Second)}
	var where string
	if flag, ok := src.Flags["mongodb-uri"]; ok {
		m.URI, where = providers.Secret(flag), "flag --mongodb-uri"
	} else {
		m.URI, where = r.secret(VariableURI)
	}
	if m.URI == "" && where == "" {
		m.URI = DefaultURI
	}
	database, problem := splitURI(m.URI.Reveal())
	if problem != "" {
		r.problems.add(where, "%s", problem)
	}
	if database == "" {
		database = DefaultDatabase
	}
	m.Database, where = r.text(setting{"database", "OUTBOXD_DATABASE", database})
	if bad := strings.ContainsAny(m.Database, "/\\. \"$*<>:|?\x00"); bad || len(m.Database) > 63 {
		if where == "" {
			where = "the database in the connection string"
		}
		r.problems.add(where, "%v cannot be a database's name", quoted(m.Database))
	}
	m.Collection, where = r.text(setting{"collection", "OUTBOXD_COLLECTION", DefaultCollection})
	if !collectionName(m.Collection) {
		r.problems.add(where, "%v cannot be a collection's name", quoted(m.Collection))
	}
	return m, r.problems.orNil()
}

func collectionName(name string) bool {
	return !strings.ContainsAny(name, "$\x00") && !strings.HasPrefix(name, "system.") && !strings.HasPrefix(name, ".")
}

// splitURI returns the database that a connection string names, and what is wrong with it. It never repeats the string,
// which may hold a password, nor the driver's error, which may repeat it.
func splitURI(uri string) (database, problem string) {
	rest, ok := strings.CutPrefix(uri, "mongodb://")
	if !ok {
		rest, ok = strings.CutPrefix(uri, "mongodb+srv://")
	}
	if !ok {
		return "", "is no connection string: it begins with mongodb:// or mongodb+srv://"
	}
	rest, _, _ = strings.Cut(rest, "?")
	hosts, path, _ := strings.Cut(rest, "/")
	if i := strings.LastIndex(hosts, "@"); i >= 0 {
		hosts = hosts[i+1:]
	}
	if hosts == "" {
		return "", "is no connection string: it names no host"
	}
	database, err := url.PathUnescape(path)
	if err != nil {
		return "", "is no connection string: the database in it has a wrong % escape"
	}
	// The driver would resolve mongodb+srv:// by DNS, which is for when it connects.
	if strings.HasPrefix(uri, "mongodb://") && options.Client().ApplyURI(uri).Validate() != nil {
		return "", "is no valid connection string; see \"Connection Strings\" in the MongoDB manual"
	}
	return database, ""
}
