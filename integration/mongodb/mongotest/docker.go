package mongotest

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"time"

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
)

// startContainer starts a mongod in a container; package mongodb initiates the set. Readiness is read from the log, and
// the set is initiated through the driver, so the image needs neither a shell nor mongosh.
//
// The set's only member calls itself localhost:27017, which is true inside the container alone. So the connection string
// is a direct one: the driver then takes the address that it was given and does not ask the set for another.
func startContainer(ctx context.Context) (*mongodb.Container, error) {
	ctx, cancel := context.WithTimeoutCause(ctx, startTimeout, fmt.Errorf("not started within %s", startTimeout))
	defer cancel()
	image := cmp.Or(os.Getenv(ImageVariable), defaultImage)
	container, err := testcontainers.Run(ctx, image,
		testcontainers.WithCmd("--replSet", mongodb.SetName, "--bind_ip_all",
			"--wiredTigerCacheSizeGB", "0.5", "--setParameter", "enableTestCommands=1"),
		testcontainers.WithExposedPorts(port),
		testcontainers.WithWaitStrategy(wait.ForLog("Waiting for connections").WithStartupTimeout(startTimeout)),
	)
	stop := func(ctx context.Context) error {
		return testcontainers.TerminateContainer(container, testcontainers.StopContext(ctx), testcontainers.StopTimeout(0))
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("start a container from %s: %w", image, err), stop(context.WithoutCancel(ctx)))
	}
	host, err := container.Host(ctx)
	if err != nil {
		return nil, errors.Join(fmt.Errorf("find the Docker engine's host: %w", err), stop(context.WithoutCancel(ctx)))
	}
	mapped, err := container.MappedPort(ctx, port)
	if err != nil {
		return nil, errors.Join(fmt.Errorf("find the port of the container from %s: %w", image, err), stop(context.WithoutCancel(ctx)))
	}
	uri := "mongodb://" + net.JoinHostPort(host, mapped.Port()) + "/?directConnection=true"
	return &mongodb.Container{URI: uri, Image: image, Stop: stop}, nil
}
