package main

import (
	"context"
	"errors"
	"fmt"
	"os"

	"github.com/outboxd/outboxd/admin/auth"
	"github.com/outboxd/outboxd/cmd/internal/adminproc"
	"github.com/outboxd/outboxd/cmd/internal/config"
	"github.com/outboxd/outboxd/store"
)

type adminCmd struct {
	Run   adminRunCmd   `cmd:"" default:"withargs" help:"Serve the operators' API and page until a signal. It is what admin does by itself."`
	Token adminTokenCmd `cmd:"" help:"Make tokens with which people and programs sign in."`
}

func (adminCmd) Help() string {
	return "`outboxd admin` alone serves; `outboxd admin run --help` lists its flags."
}

type adminRunCmd struct {
	mongoFlags
	logFlags
	Config        string `placeholder:"FILE" help:"YAML file of policies; its section admin says who gets in." var:"OUTBOXD_CONFIG"`
	Listen        string `placeholder:"ADDRESS" help:"Where operators come in; port 0 takes a free one. Default: ${admin_listen}." var:"OUTBOXD_ADMIN_LISTEN"`
	MetricsListen string `placeholder:"ADDRESS" help:"Where /metrics, /livez and /readyz are served. Default: ${admin_metrics}." var:"OUTBOXD_ADMIN_METRICS_LISTEN"`
	BasePath      string `placeholder:"PATH" help:"Serve below this path, like /outboxd; a proxy in front keeps it." var:"OUTBOXD_ADMIN_BASE_PATH"`
	PublicURL     string `name:"public-url" placeholder:"URL" help:"By which browsers come, like https://ops.example.com." var:"OUTBOXD_ADMIN_PUBLIC_URL"`
	TokensFile    string `placeholder:"FILE" help:"Tokens of people and programs (outboxd admin token new)." var:"OUTBOXD_ADMIN_TOKENS_FILE"`
	ReadOnly      bool   `help:"Nobody may change or reveal anything, and no job is carried out here."`
	Drain         string `placeholder:"DURATION" help:"How long requests may go on after the first signal. Default: ${drain}." var:"OUTBOXD_DRAIN"`
}

func (adminRunCmd) Help() string {
	return `Delivers nothing, and no worker needs it. Any number may run; they share sessions, jobs and the audit through the database.
Off loopback it refuses to start without authentication: a tokens file, OpenID Connect, or a proxy in front (section admin of the
configuration, docs/admin.md). On loopback without one, everybody on this machine may read and operate.
With a provider's keys in the environment, as a worker has them, people can ask that provider what its records show. The first SIGTERM
or SIGINT ends it in good order: requests under way end, and a job stands still after its batch; another process goes on with it.`
}

func (adminRunCmd) Run(p *program) error {
	cfg, err := config.LoadAdmin(p.source)
	logging, logErr := config.LoadLogging(p.source)
	if err := config.Join(err, logErr); err != nil {
		return err
	}
	ctx, stop := p.interruptible()
	defer stop()
	version, _ := build()
	err = adminproc.Run(ctx, adminproc.Options{
		Config: cfg, Logger: p.logger(logging), Version: version,
		Connect: func(ctx context.Context, o store.Options) (*store.Store, func(), error) {
			return connect(ctx, cfg.Mongo, o)
		},
	})
	if errors.Is(err, context.Canceled) && ctx.Err() != nil { // a signal before it served
		return nil
	}
	return err
}

type adminTokenCmd struct {
	New adminTokenNewCmd `cmd:"" help:"Make a token, and print its secret once."`
}

type adminTokenNewCmd struct {
	Name string `arg:"" help:"Whose token it is, as records of the audit show it: letters, digits, dots and hyphens."`
	Role string `required:"" placeholder:"ROLE" help:"Role of the token: read, reveal, operate, approve, or one of the configuration."`
	File string `placeholder:"PATH" help:"Tokens file that gets the new line. Without it the line is printed."`
}

func (adminTokenNewCmd) Help() string {
	return `The first line printed is the secret. Nobody can read it again: the tokens file holds only a hash of it (argon2id).
With --file the line is added to that file, which is made if it is missing. A name can be there once.`
}

func (c adminTokenNewCmd) Run(p *program) error {
	secret, line, err := auth.NewToken(c.Name, c.Role)
	if err != nil {
		return wrongUse("%v", err)
	}
	if c.File == "" {
		_, err = fmt.Fprintf(p.out, "%s\n%s\n", secret, line)
		return err
	}
	if err := addToken(c.File, c.Name, line); err != nil {
		return err
	}
	_, err = fmt.Fprintln(p.out, secret)
	return err
}

// addToken adds a line to a tokens file, which has to be in order before.
func addToken(path, name, line string) error {
	switch tokens, err := auth.LoadTokens(path); {
	case errors.Is(err, os.ErrNotExist):
	case err != nil:
		return err
	default:
		if _, there := tokens.Role(name); there {
			return fmt.Errorf("the tokens file %s has a token %s already: take its line out first, which ends its sessions", path, name)
		}
	}
	before, err := os.ReadFile(path)
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("add to the tokens file: %w", err)
	}
	if n := len(before); n > 0 && before[n-1] != '\n' { // the last line may have been written by hand
		line = "\n" + line
	}
	f, err := os.OpenFile(path, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600)
	if err != nil {
		return fmt.Errorf("add to the tokens file: %w", err)
	}
	_, err = fmt.Fprintln(f, line)
	if err = errors.Join(err, f.Close()); err != nil {
		return fmt.Errorf("add to the tokens file: %w", err)
	}
	return nil
}
