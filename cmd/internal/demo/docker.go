package demo

import (
	"context"
	"errors"
	"fmt"
	"os/exec"
	"strings"
	"time"

	"github.com/outboxd/outboxd/integration/mongodb"
)

const (
	image       = "mongo:8.0"
	pullTimeout = 5 * time.Minute // for the container to start; its image may have to be pulled first
)

// dockerMongoDB returns what starts a MongoDB by the command docker, nil where there is no such command or no engine.
func dockerMongoDB(ctx context.Context) func(context.Context) (*mongodb.Container, error) {
	if docker(ctx, "version", "--format", "{{.Server.Version}}") == "" {
		return nil
	}
	return startContainer
}

// startContainer starts a mongod that only this machine can reach. Its set's member calls itself localhost:27017,
// which is true inside the container alone, so the connection string is a direct one.
func startContainer(ctx context.Context) (*mongodb.Container, error) {
	ctx, cancel := context.WithTimeout(ctx, pullTimeout)
	defer cancel()
	out, err := exec.CommandContext(ctx, "docker", "run", "--detach", "--rm", "--publish", "127.0.0.1::27017", image,
		"--replSet", mongodb.SetName, "--bind_ip_all", "--wiredTigerCacheSizeGB", "0.5").Output()
	if err != nil {
		return nil, fmt.Errorf("docker run %s: %w%s", image, err, said(err))
	}
	id := strings.TrimSpace(string(out))
	c := &mongodb.Container{Image: image, Stop: func(ctx context.Context) error {
		if _, err := exec.CommandContext(ctx, "docker", "rm", "--force", "--volumes", id).Output(); err != nil {
			return fmt.Errorf("docker rm %s: %w%s", id, err, said(err))
		}
		return nil
	}}
	port := docker(ctx, "port", id, "27017/tcp")
	if port == "" {
		return nil, errors.Join(fmt.Errorf("docker does not say at which port the container %s can be reached", id), c.Stop(context.WithoutCancel(ctx)))
	}
	address, _, _ := strings.Cut(port, "\n")
	c.URI = "mongodb://" + address + "/?directConnection=true"
	return c, nil
}

// docker returns what the command printed, empty where it failed.
func docker(ctx context.Context, args ...string) string {
	out, err := exec.CommandContext(ctx, "docker", args...).Output()
	if err != nil {
		return ""
	}
	return strings.TrimSpace(string(out))
}

// said is what a command wrote to its standard error.
func said(err error) string {
	if exit, ok := errors.AsType[*exec.ExitError](err); ok && len(exit.Stderr) > 0 {
		return ": " + strings.TrimSpace(string(exit.Stderr))
	}
	return ""
}
