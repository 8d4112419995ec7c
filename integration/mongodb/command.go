package mongodb

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"go.mongodb.org/mongo-driver/v2/bson"
	"go.mongodb.org/mongo-driver/v2/mongo"
	"go.mongodb.org/mongo-driver/v2/mongo/options"
)

// oldestMajor is the oldest major version of MongoDB that is supported.
const oldestMajor = 6

// alreadyInitialized is the server's error code for a set that has been initiated before.
const alreadyInitialized = 23

// errNoReplicaSet is returned for a server that is not a member of a replica set.
var errNoReplicaSet = errors.New("the server is not a member of a replica set, so it has neither transactions nor change streams; start it with --replSet and run rs.initiate()")

// hello is the part of the server's answer to the command of that name that matters here.
type hello struct {
	SetName   string `bson:"setName"`
	Primary   bool   `bson:"isWritablePrimary"`
	Secondary bool   `bson:"secondary"`
	Msg       string `bson:"msg"` // "isdbgrid" from mongos, which has transactions and change streams as well
}

// withClient calls do with the admin database of the server at uri, and disconnects.
func withClient(ctx context.Context, uri string, do func(*mongo.Database) error) (err error) {
	opts := options.Client().ApplyURI(uri)
	if opts.Validate() != nil {
		// Its text may hold parts of the connection string, and so the password.
		return errors.New("the connection string is not a valid one; see \"Connection Strings\" in the MongoDB manual")
	}
	client, err := mongo.Connect(opts)
	if err != nil {
		return fmt.Errorf("connect: %w", err)
	}
	defer func() {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), stopTimeout)
		defer cancel()
		err = errors.Join(err, client.Disconnect(ctx))
	}()
	return do(client.Database("admin"))
}

// inspect returns the version of the set at uri, and an error where it cannot be used: no answer, no primary, no
// replica set, or too old.
func inspect(ctx context.Context, uri string) (version string, err error) {
	err = withClient(ctx, uri, func(admin *mongo.Database) error {
		var h hello
		if err := admin.RunCommand(ctx, bson.D{{Key: "hello", Value: 1}}).Decode(&h); err != nil {
			return fmt.Errorf("ask for its state: %w", because(ctx, err))
		}
		if h.SetName == "" && h.Msg != "isdbgrid" {
			return errNoReplicaSet
		}
		var build struct {
			Version string `bson:"version"`
		}
		if err := admin.RunCommand(ctx, bson.D{{Key: "buildInfo", Value: 1}}).Decode(&build); err != nil {
			return fmt.Errorf("ask for its version: %w", because(ctx, err))
		}
		version = build.Version
		major, _, _ := strings.Cut(version, ".")
		if n, err := strconv.Atoi(major); err != nil || n < oldestMajor {
			return fmt.Errorf("it is MongoDB %q; %d.0 is the oldest version that works", version, oldestMajor)
		}
		return nil
	})
	return version, err
}

// serverPID asks the server at uri for its process id.
func serverPID(ctx context.Context, uri string) (pid int, err error) {
	err = withClient(ctx, uri, func(admin *mongo.Database) error {
		var status struct {
			PID int `bson:"pid"`
		}
		err := admin.RunCommand(ctx, bson.D{{Key: "serverStatus", Value: 1}}).Decode(&status)
		pid = status.PID
		return err
	})
	return pid, err
}

// askHello asks the server at uri for its state.
func askHello(ctx context.Context, uri string) (h hello, err error) {
	err = withClient(ctx, uri, func(admin *mongo.Database) error {
		return admin.RunCommand(ctx, bson.D{{Key: "hello", Value: 1}}).Decode(&h)
	})
	return h, err
}

// setConfig is a replica set's configuration; an electionTimeout of 0 leaves the server's default.
func setConfig(hosts []string, electionTimeout time.Duration) bson.D {
	members := make(bson.A, len(hosts))
	for i, host := range hosts {
		members[i] = bson.D{{Key: "_id", Value: i}, {Key: "host", Value: host}}
	}
	config := bson.D{{Key: "_id", Value: SetName}, {Key: "members", Value: members}}
	if electionTimeout > 0 {
		config = append(config, bson.E{Key: "settings", Value: bson.D{{Key: "electionTimeoutMillis", Value: electionTimeout.Milliseconds()}}})
	}
	return config
}

// initiate makes the server at uri, a direct connection, the first primary of a set with the given configuration, and
// returns once it is.
func initiate(ctx context.Context, uri string, config bson.D) error {
	return withClient(ctx, uri, func(admin *mongo.Database) error {
		err := admin.RunCommand(ctx, bson.D{{Key: "replSetInitiate", Value: config}}).Err()
		if refused, ok := errors.AsType[mongo.CommandError](err); err != nil && !(ok && refused.HasErrorCode(alreadyInitialized)) {
			return because(ctx, err)
		}
		return waitState(ctx, admin, func(h hello) bool {
			if h.Primary {
				return true
			}
			// The first election of a set of several waits for the election timeout, 10 s, unless a member is told to
			// stand. Until the others have the configuration it is refused, and asked again.
			_ = admin.RunCommand(ctx, bson.D{{Key: "replSetStepUp", Value: 1}}).Err()
			return false
		})
	})
}

func waitSecondary(ctx context.Context, uri string) error {
	return withClient(ctx, uri, func(admin *mongo.Database) error {
		return waitState(ctx, admin, func(h hello) bool { return h.Secondary || h.Primary })
	})
}

// waitState asks for the server's state until it is the wanted one or ctx ends.
func waitState(ctx context.Context, admin *mongo.Database, wanted func(hello) bool) error {
	tick := time.NewTicker(pollInterval)
	defer tick.Stop()
	for {
		var h hello
		err := admin.RunCommand(ctx, bson.D{{Key: "hello", Value: 1}}).Decode(&h)
		if err == nil && wanted(h) {
			return nil
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return because(ctx, err)
		}
	}
}

// because returns the reason why ctx ended beside err, where it has ended: the driver only says that it did.
func because(ctx context.Context, err error) error {
	if cause := context.Cause(ctx); cause != nil && err != nil {
		return fmt.Errorf("%w: %w", cause, err)
	} else if cause != nil {
		return cause
	}
	return err
}
