package main

import (
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"runtime/debug"
	"time"

	"github.com/alecthomas/kong"
	"go.mongodb.org/mongo-driver/v2/mongo/options"
	"golang.org/x/term"

	"github.com/outboxd/outboxd/cmd/api/payments"
)

// config is the command line with its environment variables. Where they mean the same, they are outboxd's.
type config struct {
	MongoDBURI     string        `name:"mongodb-uri" env:"OUTBOXD_MONGODB_URI" default:"mongodb://127.0.0.1:27017/?replicaSet=rs0" placeholder:"URI" help:"Connection string of a replica set or sharded cluster (${env}). Default: a set rs0 on this machine."`
	Database       string        `env:"OUTBOXD_DATABASE" placeholder:"NAME" help:"Database of payments and intents (${env}). Default: the URI's, else outbox."`
	Collection     string        `env:"OUTBOXD_COLLECTION" default:"outbox" help:"Collection of the intents (${env}). Default: ${default}."`
	Listen         string        `env:"OUTBOX_API_LISTEN" default:"127.0.0.1:8426" placeholder:"ADDR" help:"Address of the API, without authentication (${env}). Default: ${default}."`
	EmailFrom      string        `env:"OUTBOX_API_EMAIL_FROM" default:"receipts@example.com" placeholder:"ADDRESS" help:"Sender of receipts; SendGrid must know it (${env}). Default: ${default}."`
	SMSFrom        string        `name:"sms-from" env:"OUTBOX_API_SMS_FROM" default:"+15005550006" placeholder:"NUMBER" help:"Sender of SMS in E.164; your Twilio account must own it (${env}). Default: ${default}, Twilio's test sender."`
	ConnectTimeout time.Duration `env:"OUTBOXD_CONNECT_TIMEOUT" default:"30s" help:"How long to wait for MongoDB at start (${env}). Default: ${default}."`
	Drain          time.Duration `env:"OUTBOXD_DRAIN" default:"30s" help:"How long requests under way may take after a signal (${env}). Default: ${default}."`
	LogLevel       string        `env:"OUTBOXD_LOG_LEVEL" default:"info" placeholder:"LEVEL" help:"debug, info, warn or error (${env}). Default: ${default}."`
	LogFormat      string        `env:"OUTBOXD_LOG_FORMAT" placeholder:"FORMAT" help:"text or json (${env}). Default: text on a terminal, else json."`

	Version kong.VersionFlag `help:"Print the version and end."`
}

// check returns every problem that the flags themselves do not show, each naming flag and variable.
func (c *config) check() error {
	var errs []error
	bad := func(format string, args ...any) { errs = append(errs, fmt.Errorf(format, args...)) }
	// The driver's error can repeat the string, which may hold a password.
	if err := options.Client().ApplyURI(c.MongoDBURI).Validate(); err != nil {
		bad("--mongodb-uri (OUTBOXD_MONGODB_URI) is no valid connection string; it looks like mongodb://host:27017/?replicaSet=rs0")
	}
	if c.Collection == "" || c.Collection == payments.Collection {
		bad("--collection (OUTBOXD_COLLECTION) must be the outbox's name, not %q", c.Collection)
	}
	if err := c.senders().Validate(); err != nil {
		bad("--email-from (OUTBOX_API_EMAIL_FROM), --sms-from (OUTBOX_API_SMS_FROM): %w", err)
	}
	if _, _, err := net.SplitHostPort(c.Listen); err != nil {
		bad("--listen (OUTBOX_API_LISTEN) is %q, must be host:port", c.Listen)
	}
	if c.ConnectTimeout <= 0 {
		bad("--connect-timeout (OUTBOXD_CONNECT_TIMEOUT) is %v, must be above 0", c.ConnectTimeout)
	}
	if c.Drain < 0 {
		bad("--drain (OUTBOXD_DRAIN) is %v, must not be negative", c.Drain)
	}
	if _, err := c.level(); err != nil {
		bad("--log-level (OUTBOXD_LOG_LEVEL) is %q, must be debug, info, warn or error", c.LogLevel)
	}
	if c.LogFormat != "" && c.LogFormat != "text" && c.LogFormat != "json" {
		bad("--log-format (OUTBOXD_LOG_FORMAT) is %q, must be text or json", c.LogFormat)
	}
	return errors.Join(errs...)
}

func (c *config) senders() payments.Senders {
	return payments.Senders{Email: c.EmailFrom, Phone: c.SMSFrom}
}

func (c *config) level() (slog.Level, error) {
	var level slog.Level
	err := level.UnmarshalText([]byte(c.LogLevel))
	return level, err
}

func (c *config) logger(w io.Writer) *slog.Logger {
	level, err := c.level()
	if err != nil {
		level = slog.LevelInfo // check has refused it
	}
	opts := &slog.HandlerOptions{Level: level}
	f, isFile := w.(*os.File)
	if c.LogFormat == "text" || c.LogFormat == "" && isFile && term.IsTerminal(int(f.Fd())) {
		return slog.New(slog.NewTextHandler(w, opts))
	}
	return slog.New(slog.NewJSONHandler(w, opts))
}

// version returns the module's version as the build recorded it.
func version() string {
	info, ok := debug.ReadBuildInfo()
	if !ok || info.Main.Version == "" {
		return "devel"
	}
	return info.Main.Version
}
