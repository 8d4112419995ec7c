// Package mongotest gives tests a real MongoDB replica set: one for each test process, started when the first test asks
// for it and gone when the process is.
//
// A test package that uses it has
//
//	func TestMain(m *testing.M) { mongotest.Main(m) }
//
// and its tests call [Database], or [URI] where they hand the connection string to another process. The server is
// found as package mongodb describes, the connection string in [Variable] first and testcontainers-go last. A test
// that gets no server fails with the reason; it is never skipped. What a test process that was killed leaves behind
// is package mongodb's to remove; only a container outlives it, and that is removed by testcontainers' own reaper.
package mongotest

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"go.mongodb.org/mongo-driver/v2/mongo"
	"go.mongodb.org/mongo-driver/v2/mongo/options"
	"go.uber.org/goleak"

	"github.com/outboxd/outboxd/integration/mongodb"
)

// Variable is the environment variable that names an existing replica set to run the tests on. They create databases of
// their own in it and drop them.
const Variable = "OUTBOXD_TEST_MONGODB_URI"

const (
	// selectionTimeout is how long an operation waits for a primary before it fails; the driver's own 30 s makes a
	// broken test look like one that hangs.
	selectionTimeout = 10 * time.Second
	// cleanupTimeout bounds what is done for a test after its end.
	cleanupTimeout = 30 * time.Second
	// nameLength is how much of a test's name its database carries: a database's name has at most 63 bytes.
	nameLength = 36
)

// shared is the server of this test process. Main makes it, so that a package without Main is told so by its first
// test.
type shared struct {
	once   sync.Once
	server *mongodb.Server
	err    error
}

// current is what Main set up; tests only read it.
var current *shared

// Main runs the tests of a package and ends the process with their result. Before that it closes the server, if a
// test asked for one, and fails the process when goroutines are left; opts are goleak's, for goroutines that are
// meant to stay.
func Main(m *testing.M, opts ...goleak.Option) { os.Exit(Run(m, opts...)) }

// Run is Main for a package that has to clean up after its tests: it returns the exit code.
func Run(m *testing.M, opts ...goleak.Option) int {
	current = new(shared)
	code := m.Run()
	if err := current.close(); err != nil {
		fmt.Fprintln(os.Stderr, "mongotest: close the test server:", err)
		code = max(code, 1)
	}
	// Leaks beside failures are mostly what the failed tests could not close.
	if code == 0 {
		if err := goleak.Find(opts...); err != nil {
			fmt.Fprintln(os.Stderr, "mongotest: goroutines are left after the tests:", err)
			code = 1
		}
	}
	return code
}

// URI returns the connection string of this process's replica set, and starts the set if no test has asked for it yet.
// Where that fails, tb fails.
func URI(tb testing.TB) string {
	tb.Helper()
	return Server(tb).URI
}

// Server returns this process's replica set as URI does, with its version and how it was found. It is not the test's to
// close.
func Server(tb testing.TB) *mongodb.Server {
	tb.Helper()
	if current == nil {
		tb.Fatal("mongotest: this package has no Main; add: func TestMain(m *testing.M) { mongotest.Main(m) }")
	}
	server, err := current.get()
	if err != nil {
		tb.Fatalf("mongotest: %v", err)
	}
	return server
}

// Client returns a client of this process's replica set that is disconnected when the test ends. Options are applied
// after the connection string, so they win.
func Client(tb testing.TB, opts ...*options.ClientOptions) *mongo.Client {
	tb.Helper()
	base := options.Client().ApplyURI(URI(tb)).SetServerSelectionTimeout(selectionTimeout)
	client, err := mongo.Connect(append([]*options.ClientOptions{base}, opts...)...)
	if err != nil {
		tb.Fatalf("mongotest: connect to %s: %v", Server(tb).How, err)
	}
	tb.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), cleanupTimeout)
		defer cancel()
		if err := client.Disconnect(ctx); err != nil {
			tb.Errorf("mongotest: disconnect: %v", err)
		}
	})
	return client
}

// Database returns a new database with a name of its own, which is dropped when the test ends; so is its client
// disconnected. Options are the client's. Another process reaches the database through URI and the database's name.
func Database(tb testing.TB, opts ...*options.ClientOptions) *mongo.Database {
	tb.Helper()
	db := Client(tb, opts...).Database(databaseName(tb.Name()))
	tb.Cleanup(func() {
		// Not tb's context, which has ended by now.
		ctx, cancel := context.WithTimeout(context.Background(), cleanupTimeout)
		defer cancel()
		// By a client of its own: the test's may carry a failing monitor or timeouts of no use here.
		if err := drop(ctx, current.server.URI, db.Name()); err != nil {
			tb.Errorf("mongotest: drop the test's database %s: %v", db.Name(), err)
		}
	})
	return db
}

// ExampleDatabase is [Database] for an Example function, which has no testing.TB. Without a server it panics, which
// fails the example. done drops the database and disconnects its client.
func ExampleDatabase(name string) (db *mongo.Database, done func()) {
	if current == nil {
		panic("mongotest: this package has no Main; add: func TestMain(m *testing.M) { mongotest.Main(m) }")
	}
	server, err := current.get()
	if err != nil {
		panic(fmt.Sprintf("mongotest: %v", err))
	}
	client, err := mongo.Connect(options.Client().ApplyURI(server.URI).SetServerSelectionTimeout(selectionTimeout))
	if err != nil {
		panic(fmt.Sprintf("mongotest: connect to %s: %v", server.How, err))
	}
	db = client.Database(databaseName(name))
	return db, func() {
		ctx, cancel := context.WithTimeout(context.Background(), cleanupTimeout)
		defer cancel()
		if err := errors.Join(db.Drop(ctx), client.Disconnect(ctx)); err != nil {
			panic(fmt.Sprintf("mongotest: drop the example's database %s: %v", db.Name(), err))
		}
	}
}

func drop(ctx context.Context, uri, name string) error {
	client, err := mongo.Connect(options.Client().ApplyURI(uri).SetServerSelectionTimeout(selectionTimeout))
	if err != nil {
		return err
	}
	defer client.Disconnect(ctx)
	return client.Database(name).Drop(ctx)
}

// databaseName makes a name that no other test, process or machine uses, and that a person recognises.
func databaseName(test string) string {
	name := strings.Map(func(r rune) rune {
		switch {
		case r >= 'a' && r <= 'z', r >= 'A' && r <= 'Z', r >= '0' && r <= '9', r == '_':
			return r
		}
		return '_'
	}, test)
	return name[:min(len(name), nameLength)] + "_" + rand.Text()[:16]
}

func (s *shared) get() (*mongodb.Server, error) {
	s.once.Do(func() {
		// The server is every test's, so it does not start under the context of the first.
		s.server, s.err = mongodb.Find(context.Background(), mongodb.Options{
			Variables: []string{Variable},
			Docker:    startContainer,
		})
	})
	return s.server, s.err
}

func (s *shared) close() error {
	if s.server == nil {
		return nil
	}
	return s.server.Close()
}
