package mongodb

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"sync"
	"time"
)

// MongodVariable is the environment variable that holds the path of the mongod to start.
const MongodVariable = "MONGOD"

// CachePath is where `make mongod` puts a mongod, relative to the root of the checkout.
const CachePath = ".cache/mongod"

// defaultStartTimeout bounds the start of a server where Options do not say otherwise. A start takes half a second on
// an idle machine; the rest is for machines that run everything at once.
const defaultStartTimeout = time.Minute

// ErrNotFound is returned, wrapped with the ways that exist, when there is no connection string, no mongod and no
// Docker.
var ErrNotFound = errors.New("no MongoDB found")

// Options say where Find looks and how servers are started. The zero value starts a mongod with the defaults.
type Options struct {
	// Variables are the environment variables that may hold a connection string; the first one that is not empty wins.
	Variables []string

	// Docker starts a replica set in a container when there is neither a connection string nor a mongod. It is not
	// called otherwise, and bounds itself: an image may have to be pulled. The set is initiated by Find. Nil means that
	// this program cannot use Docker.
	Docker func(ctx context.Context) (*Container, error)

	// Mongod is the path of the mongod to start. Defaults to $MONGOD, then the PATH, then .cache/mongod in the working
	// directory and in the checkout that the working directory belongs to.
	Mongod string

	// CacheSizeGB is the size of each server's WiredTiger cache in GiB, at least 0.25. Defaults to 0.5.
	CacheSizeGB float64

	// OplogSizeMB is the greatest size of each server's oplog in MiB. Defaults to 1024.
	OplogSizeMB int

	// ElectionTimeout is the set's electionTimeoutMillis. Defaults to the server's own, 10 s.
	ElectionTimeout time.Duration

	// Parameters are further server parameters (--setParameter). enableTestCommands=1, which makes fail points
	// available, is always set.
	Parameters map[string]string

	// StartTimeout bounds the wait for a server found or started to answer with a primary. Defaults to one minute.
	StartTimeout time.Duration
}

// Container is a replica set that Options.Docker started.
type Container struct {
	// URI reaches the set from this process.
	URI string
	// Image is what the container was made from.
	Image string
	// Stop ends and removes the container. It is called once.
	Stop func(ctx context.Context) error
}

// Server is a MongoDB that can be used: found by its connection string, or started by this process.
type Server struct {
	// URI is the connection string. It names no database. One from an environment variable may hold a password.
	URI string
	// How says in a few words which way was taken, fit to be printed.
	How string
	// Version is the server's version, such as "8.0.4".
	Version string

	stop func() error
	once sync.Once
	err  error
}

// Close ends the server if this process started it, and removes its files; it does nothing to a server that was found
// by its connection string. Repeated and concurrent calls wait for the first and return its result.
func (s *Server) Close() error {
	s.once.Do(func() {
		if s.stop != nil {
			s.err = s.stop()
		}
	})
	return s.err
}

// Find returns a MongoDB replica set with a primary, by the first way that is there; the package comment lists them.
// The caller closes it.
//
// The error wraps ErrNotFound when no way is there. Any other error says which way was taken and what went wrong; when
// a mongod did not come up it shows the end of its log. No error holds a connection string.
func Find(ctx context.Context, opts Options) (*Server, error) {
	for _, name := range opts.Variables {
		if uri := os.Getenv(name); uri != "" {
			return fromVariable(ctx, name, uri, opts)
		}
	}
	path, err := findMongod(opts.Mongod)
	if err != nil {
		return nil, err
	}
	if path != "" {
		return fromMongod(ctx, path, opts)
	}
	if opts.Docker != nil {
		server, err := fromDocker(ctx, opts)
		if err != nil {
			return nil, fmt.Errorf("%w: Docker was the only way left and failed: %w", notFound(opts), err)
		}
		return server, nil
	}
	return nil, notFound(opts)
}

// startContext bounds the wait for a server, with an end that names the bound.
func (o Options) startContext(ctx context.Context) (context.Context, context.CancelFunc) {
	limit := cmp.Or(o.StartTimeout, defaultStartTimeout)
	return context.WithTimeoutCause(ctx, limit, fmt.Errorf("no primary within %s", limit))
}

func fromVariable(ctx context.Context, name, uri string, opts Options) (*Server, error) {
	ctx, cancel := opts.startContext(ctx)
	defer cancel()
	version, err := inspect(ctx, uri)
	if err != nil {
		return nil, fmt.Errorf("use the MongoDB that %s names: %w; correct the variable, or unset it to have a server started", name, err)
	}
	return &Server{URI: uri, How: "the server that " + name + " names", Version: version}, nil
}

func fromMongod(ctx context.Context, path string, opts Options) (*Server, error) {
	opts.Mongod = path
	set, err := StartReplicaSet(ctx, 1, opts)
	if err != nil {
		return nil, err
	}
	ctx, cancel := opts.startContext(ctx)
	defer cancel()
	server := &Server{URI: set.URI(), How: "a throw-away server from " + path, stop: set.Close}
	if server.Version, err = inspect(ctx, server.URI); err != nil {
		return nil, errors.Join(fmt.Errorf("use the mongod %s: %w", path, err), set.Close())
	}
	return server, nil
}

func fromDocker(ctx context.Context, opts Options) (*Server, error) {
	container, err := opts.Docker(ctx)
	if err != nil {
		return nil, err
	}
	stop := func() error {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), stopTimeout)
		defer cancel()
		if err := container.Stop(ctx); err != nil {
			return fmt.Errorf("stop the MongoDB container made from %s: %w", container.Image, err)
		}
		return nil
	}
	ctx, cancel := opts.startContext(ctx)
	defer cancel()
	server := &Server{URI: container.URI, How: "a throw-away Docker container made from " + container.Image, stop: stop}
	if err := initiate(ctx, server.URI, setConfig([]string{"localhost:27017"}, 0)); err != nil {
		return nil, errors.Join(fmt.Errorf("initiate the replica set in the container made from %s: %w", container.Image, err), stop())
	}
	if server.Version, err = inspect(ctx, server.URI); err != nil {
		return nil, errors.Join(fmt.Errorf("use the container made from %s: %w", container.Image, err), stop())
	}
	return server, nil
}

// notFound names every way there is for this caller, each with what to do.
func notFound(opts Options) error {
	var ways []string
	if len(opts.Variables) > 0 {
		ways = append(ways, "set "+strings.Join(opts.Variables, " or ")+" to the connection string of a replica set")
	}
	ways = append(ways, "put a mongod on the PATH, name it in "+MongodVariable+", or run `make mongod`, which puts one into "+CachePath)
	if opts.Docker != nil {
		ways = append(ways, "start a Docker engine")
	} else {
		ways = append(ways, "use Docker through docker-compose.yml (`make demo` does)")
	}
	return fmt.Errorf("%w: %s", ErrNotFound, strings.Join(ways, "; or "))
}
