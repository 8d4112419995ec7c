package mongotest

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"time"

	"github.com/moby/moby/api/types/container"
	"github.com/moby/moby/api/types/network"
	"github.com/testcontainers/testcontainers-go"
	"github.com/testcontainers/testcontainers-go/wait"

	"github.com/outboxd/outboxd/integration/mongodb"
)

const (
	// ImageVariable is the environment variable that names the image of the test container.
	ImageVariable = "MONGO_IMAGE"
	// defaultImage is used where ImageVariable is empty.
	defaultImage = "mongo:8.0"
	// port is the server's inside the container.
	port = "27017/tcp"
	// startTimeout bounds the start of a container, whose image may have to be pulled first.
	startTimeout = 5 * time.Minute
	// dialTimeout bounds one attempt to reach a port that should be there already.
	dialTimeout = 3 * time.Second
)

// startContainer starts a mongod in a container; package mongodb initiates the set. Readiness is read from the log, and
// the set is initiated through the driver, so the image needs neither a shell nor mongosh.
//
// The set's only member calls itself localhost:27017, which is true inside the container alone. So the connection
// string is a direct one: the driver then takes the address that it was given and does not ask the set for another.
func startContainer(ctx context.Context) (_ *mongodb.Container, err error) {
	ctx, cancel := context.WithTimeoutCause(ctx, startTimeout, fmt.Errorf("not started within %s", startTimeout))
	defer cancel()
	host, err := engineHost(ctx)
	if err != nil {
		return nil, err
	}
	image := cmp.Or(os.Getenv(ImageVariable), defaultImage)
	ctr, err := testcontainers.Run(ctx, image,
		testcontainers.WithCmd("--replSet", mongodb.SetName, "--bind_ip_all",
			"--wiredTigerCacheSizeGB", "0.5", "--setParameter", "enableTestCommands=1"),
		testcontainers.WithExposedPorts(port),
		testcontainers.WithHostConfigModifier(func(config *container.HostConfig) {
			if host == "localhost" {
				// Nobody else on the network is to reach a server without access control.
				loopback := network.PortBinding{HostIP: netip.AddrFrom4([4]byte{127, 0, 0, 1})}
				config.PortBindings = network.PortMap{network.MustParsePort(port): {loopback}}
			}
		}),
		testcontainers.WithWaitStrategy(wait.ForLog("Waiting for connections").WithStartupTimeout(startTimeout)),
	)
	stop := func(ctx context.Context) error {
		ctx, cancel := context.WithTimeout(ctx, cleanupTimeout)
		defer cancel()
		return testcontainers.TerminateContainer(ctr, testcontainers.StopContext(ctx), testcontainers.StopTimeout(0))
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, stop(context.WithoutCancel(ctx)))
		}
	}()
	if err != nil {
		return nil, fmt.Errorf("start a container from %s: %w", image, err)
	}
	mapped, err := ctr.MappedPort(ctx, port)
	if err != nil {
		return nil, fmt.Errorf("find the port of the container from %s: %w", image, err)
	}
	addr, err := reachable(ctx, mapped.Port(), host, "127.0.0.1")
	if err != nil {
		return nil, fmt.Errorf("reach the container from %s: %w", image, err)
	}
	return &mongodb.Container{URI: "mongodb://" + addr + "/?directConnection=true", Image: image, Stop: stop}, nil
}

// engineHost returns the host on which the Docker engine publishes ports, and an error where no engine answers.
func engineHost(ctx context.Context) (host string, err error) {
	provider, err := testcontainers.NewDockerProvider()
	if err != nil {
		return "", fmt.Errorf("find a Docker engine: %w", err)
	}
	defer func() { err = errors.Join(err, provider.Close()) }()
	if err := provider.Health(ctx); err != nil {
		return "", fmt.Errorf("ask the Docker engine for its state: %w", err)
	}
	if host, err = provider.DaemonHost(ctx); err != nil {
		return "", fmt.Errorf("find the host of the Docker engine: %w", err)
	}
	return host, nil
}

// reachable returns the first of the hosts that takes a connection on port. testcontainers' host is a guess in a
// program that runs in a container itself: it takes the engine for one outside, although it may run in the same
// container.
func reachable(ctx context.Context, port string, hosts ...string) (string, error) {
	dialer := net.Dialer{Timeout: dialTimeout}
	var errs []error
	for _, host := range hosts {
		addr := net.JoinHostPort(host, port)
		conn, err := dialer.DialContext(ctx, "tcp", addr)
		if err == nil {
			return addr, conn.Close()
		}
		errs = append(errs, err)
	}
	return "", fmt.Errorf("TESTCONTAINERS_HOST_OVERRIDE may have to name the engine's host: %w", errors.Join(errs...))
}
