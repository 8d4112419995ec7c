package mongodb

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"
)

// SetName is the name of every replica set that this package initiates.
const SetName = "rs0"

// maxMembers is the server's limit of voting members.
const maxMembers = 7

// ReplicaSet is a set of servers that this process started on loopback. Its methods may be called from several
// goroutines at once.
type ReplicaSet struct {
	// Members are the servers, in the order of the set's configuration.
	Members []*Member

	cleaner *cleaner
	once    sync.Once
	err     error
}

// URI reaches the set through all its members.
func (rs *ReplicaSet) URI() string {
	return "mongodb://" + strings.Join(rs.addrs(), ",") + "/?replicaSet=" + SetName
}

func (rs *ReplicaSet) addrs() []string {
	addrs := make([]string, len(rs.Members))
	for i, m := range rs.Members {
		addrs[i] = m.Addr()
	}
	return addrs
}

// Primary returns the member that says it is the primary, waiting for one until ctx ends. A member that was cut off may
// believe that it still is for a moment after another was elected. Paused and killed members are passed over.
func (rs *ReplicaSet) Primary(ctx context.Context) (*Member, error) {
	for {
		for _, m := range rs.Members {
			if m.isPrimary(ctx) {
				return m, nil
			}
		}
		select {
		case <-time.After(pollInterval):
		case <-ctx.Done():
			return nil, fmt.Errorf("find the primary of %s: %w", strings.Join(rs.addrs(), ", "), context.Cause(ctx))
		}
	}
}

// Close kills the members, waits for their end and removes their directory. Repeated and concurrent calls wait for the
// first and return its result.
func (rs *ReplicaSet) Close() error {
	rs.once.Do(func() {
		var errs []error
		for _, m := range rs.Members {
			errs = append(errs, m.Kill())
		}
		rs.err = errors.Join(append(errs, rs.cleaner.stop())...)
	})
	return rs.err
}

// StartReplicaSet starts a replica set of n members, 1 to 7, from a mongod, and returns once it has a primary and all
// others are secondaries. Of opts it uses neither Variables nor Docker. The caller closes it.
//
// The error wraps ErrNotFound where there is no mongod; where one did not come up it shows the end of its log, and
// nothing is left behind.
func StartReplicaSet(ctx context.Context, n int, opts Options) (*ReplicaSet, error) {
	if n < 1 || n > maxMembers {
		return nil, fmt.Errorf("start a replica set of %d members: must be from 1 to %d", n, maxMembers)
	}
	path, err := findMongod(opts.Mongod)
	if err != nil {
		return nil, err
	}
	if path == "" {
		return nil, notFound(Options{})
	}
	ctx, cancel := opts.startContext(ctx)
	defer cancel()

	dir, err := os.MkdirTemp("", "outboxd-mongod-")
	if err != nil {
		return nil, fmt.Errorf("make a throw-away directory for mongod: %w", err)
	}
	cleaner, err := startCleaner(dir)
	if err != nil {
		return nil, errors.Join(fmt.Errorf("start the cleaner of the throw-away servers: %w", err), os.RemoveAll(dir))
	}
	rs := &ReplicaSet{cleaner: cleaner}
	if err := rs.start(ctx, path, dir, n, opts); err != nil {
		return nil, errors.Join(err, rs.Close())
	}
	return rs, nil
}

func (rs *ReplicaSet) start(ctx context.Context, path, dir string, n int, opts Options) error {
	for i := range n {
		m, err := startMember(ctx, path, filepath.Join(dir, strconv.Itoa(i)), opts)
		if err != nil {
			return err
		}
		rs.Members = append(rs.Members, m)
	}
	if err := initiate(ctx, rs.Members[0].URI(), setConfig(rs.addrs(), opts.ElectionTimeout)); err != nil {
		return fmt.Errorf("initiate the replica set of mongod %s: %w%s", rs.Members[0].Addr(), err, tail(rs.Members[0].LogPath()))
	}
	for _, m := range rs.Members[1:] {
		if err := waitSecondary(ctx, m.URI()); err != nil {
			return fmt.Errorf("wait for mongod %s to become a secondary: %w%s", m.Addr(), err, tail(m.LogPath()))
		}
	}
	return nil
}

// startMember starts one server in dir, trying other ports where the one it found free was taken meanwhile.
func startMember(ctx context.Context, path, dir string, opts Options) (*Member, error) {
	if err := os.Mkdir(dir, 0o700); err != nil {
		return nil, fmt.Errorf("make the directory of a throw-away mongod: %w", err)
	}
	m := &Member{path: path, dir: dir, args: arguments(dir, opts)}
	for attempt := 1; ; attempt++ {
		var err error
		if m.port, err = freePort(); err != nil {
			return nil, err
		}
		err = m.Start(ctx)
		if err == nil {
			return m, nil
		}
		if !errors.Is(err, errPortInUse) || attempt == startAttempts {
			return nil, err
		}
	}
}

// arguments are a mongod's, but for its port. It logs to its standard output, so that what the dynamic loader has to
// say is in the same file.
func arguments(dir string, opts Options) []string {
	args := []string{
		"--replSet", SetName,
		"--dbpath", dir,
		"--bind_ip", "127.0.0.1",
		"--nounixsocket",
		"--wiredTigerCacheSizeGB", strconv.FormatFloat(cmp.Or(opts.CacheSizeGB, 0.5), 'f', -1, 64),
		"--oplogSize", strconv.Itoa(cmp.Or(opts.OplogSizeMB, 1024)),
		"--setParameter", "enableTestCommands=1",
		"--setParameter", "diagnosticDataCollectionEnabled=false", // Nobody reads it, and it writes every second.
	}
	for _, name := range slices.Sorted(maps.Keys(opts.Parameters)) {
		args = append(args, "--setParameter", name+"="+opts.Parameters[name])
	}
	return args
}
