package main

import (
	"strings"

	"github.com/alecthomas/kong"

	"github.com/outboxd/outboxd/cmd/internal/config"
	"github.com/outboxd/outboxd/cmd/internal/term"
)

const description = `A transactional outbox worker on MongoDB. An application writes an intent (charge, email, sms) into
a collection, in the same transaction as its business data; outboxd carries it out through Stripe,
SendGrid or Twilio, and never forgets it.

A flag wins over an environment variable, a variable over the configuration file, and the file over
the default. Secrets come from the environment alone. Each variable that may hold a secret also
exists with the suffix _FILE, which names a file that holds it (a mounted secret).

Start here:
  outboxd migrate    prepare the database that OUTBOXD_MONGODB_URI names
  outboxd worker     carry out intents until a signal
  outboxd demo       see all of it on this machine, without an account anywhere
  outboxd dev        write a producer, and see what becomes of its intents`

// cli is the grammar of the command line.
type cli struct {
	Worker     workerCmd     `cmd:"" help:"Carry out intents until a signal."`
	Migrate    migrateCmd    `cmd:"" help:"Bring the database's schema to this version."`
	Dead       deadCmd       `cmd:"" help:"Look at dead letters, and retry them."`
	Jobs       jobsCmd       `cmd:"" help:"Bulk jobs over dead letters: look at them, and pause, resume and stop them."`
	Show       showCmd       `cmd:"" help:"Show one intent and what happened to it."`
	Find       findCmd       `cmd:"" help:"Find intents by id, kind, status, code, metadata or time."`
	Resolve    resolveCmd    `cmd:"" help:"Answer whether an ambiguous intent was sent."`
	Cancel     cancelCmd     `cmd:"" help:"Cancel intents that surely were not sent."`
	Lane       laneCmd       `cmd:"" help:"Look at lanes; pause and resume them."`
	Audit      auditCmd      `cmd:"" help:"List what people did, and tried to do."`
	Workers    workersCmd    `cmd:"" help:"List the live workers."`
	Stats      statsCmd      `cmd:"" help:"Count intents by kind and status."`
	Top        topCmd        `cmd:"" help:"Fill the terminal with how the lanes stand, live."`
	Doctor     doctorCmd     `cmd:"" help:"Check everything that a deployment needs."`
	Admin      adminCmd      `cmd:"" help:"Serve the operators' API and page; make tokens for them."`
	Schema     schemaCmd     `cmd:"" help:"Print the intent contract as JSON Schema."`
	Validate   validateCmd   `cmd:"" help:"Check documents against the intent contract, without a database."`
	Explain    explainCmd    `cmd:"" help:"Say in plain words why MongoDB refused a document (error 121)."`
	Sim        simCmd        `cmd:"" help:"Simulate the three providers on this machine."`
	Demo       demoCmd       `cmd:"" help:"Show the whole story on this machine, in one command."`
	Dev        devCmd        `cmd:"" help:"Start all that a producer needs on this machine, and tell what becomes of its intents."`
	Bench      benchCmd      `cmd:"" help:"Measure throughput, latency and cost against what MongoDB allows."`
	Completion completionCmd `cmd:"" help:"Make a shell complete commands and flags."`
	Version    versionCmd    `cmd:"" help:"Print the version."`

	Release versionFlag `name:"version" help:"Print the version."`

	BenchWorker benchWorkerCmd `cmd:"" hidden:"" help:"One worker process of a benchmark."`
}

// mongoFlags say where the outbox is. They are read through package config, which knows the variables as well.
type mongoFlags struct {
	MongodbURI     string `name:"mongodb-uri" placeholder:"URI" help:"Connection string of a replica set. Default: ${mongodb_uri}." var:"OUTBOXD_MONGODB_URI"`
	Database       string `placeholder:"NAME" help:"Database. Default: the connection string's, else ${database}." var:"OUTBOXD_DATABASE"`
	Collection     string `placeholder:"NAME" help:"Collection of the intents; side collections derive from it. Default: ${collection}." var:"OUTBOXD_COLLECTION"`
	ConnectTimeout string `placeholder:"DURATION" help:"How long to wait for MongoDB to answer. Default: ${connect_timeout}." var:"OUTBOXD_CONNECT_TIMEOUT"`
}

// logFlags say what is logged and how.
type logFlags struct {
	LogLevel  string `placeholder:"LEVEL" help:"debug, info, warn or error. Default: ${log_level}." var:"OUTBOXD_LOG_LEVEL"`
	LogFormat string `placeholder:"FORMAT" help:"text or json. Default: text on a terminal, else json." var:"OUTBOXD_LOG_FORMAT"`
}

// grammarOptions set kong up to write where the program writes, and to leave the environment to package config.
func grammarOptions(p *program, ended func(int)) []kong.Option {
	return []kong.Option{
		kong.Name("outboxd"),
		kong.Description(description),
		kong.Writers(p.out, p.err),
		kong.Exit(ended),
		kong.Bind(p),
		kong.ConfigureHelp(kong.HelpOptions{Compact: true, NoExpandSubcommands: true, NoAppDescFormat: true, WrapUpperBound: term.Width}),
		kong.ValueFormatter(explain),
		kong.Vars{
			"mongodb_uri":     config.DefaultURI,
			"database":        config.DefaultDatabase,
			"collection":      config.DefaultCollection,
			"connect_timeout": config.DefaultConnectTimeout,
			"listen":          config.DefaultListen,
			"admin_listen":    config.DefaultAdminListen,
			"admin_metrics":   config.DefaultAdminMetrics,
			"drain":           config.DefaultDrain,
			"within":          config.DefaultWithin,
			"log_level":       config.DefaultLogLevel,
		},
	}
}

// explain adds a flag's variable to its help.
func explain(v *kong.Value) string {
	variable := v.Tag.Get("var")
	if variable == "" {
		return v.Help
	}
	return strings.TrimSuffix(v.Help, ".") + " ($" + variable + ")."
}
