package mongodb

import (
	"context"
	"errors"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

const testVariable = "OUTBOXD_TEST_FIND_URI"

// fakeMongod puts an executable that prints a line and fails at path.
func fakeMongod(t *testing.T, path string) string {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	script := "#!/bin/sh\necho 'error while loading shared libraries: libcurl.so.4'\nexit 127\n"
	if err := os.WriteFile(path, []byte(script), 0o755); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestFindTakesTheWaysInOrder(t *testing.T) {
	set := startSet(t, 1, Options{})
	mongod := mongodPath(t)
	dockerCalls := 0
	opts := Options{
		Variables: []string{"OUTBOXD_TEST_FIND_UNSET", testVariable},
		Docker: func(context.Context) (*Container, error) {
			dockerCalls++
			return &Container{URI: set.Members[0].URI(), Image: "image:1", Stop: func(context.Context) error { return nil }}, nil
		},
	}
	emptyMachine(t)
	find := func(t *testing.T, how string, docker int) {
		t.Helper()
		dockerCalls = 0
		server, err := Find(t.Context(), opts)
		if err != nil {
			t.Fatal(err)
		}
		defer func() {
			if err := server.Close(); err != nil {
				t.Error(err)
			}
		}()
		if server.How != how {
			t.Errorf("How = %q, want %q", server.How, how)
		}
		if major, _, _ := strings.Cut(server.Version, "."); major == "" {
			t.Errorf("Version = %q", server.Version)
		}
		if dockerCalls != docker {
			t.Errorf("Docker was asked %d times, want %d", dockerCalls, docker)
		}
	}
	t.Run("Docker where nothing else is there", func(t *testing.T) {
		find(t, "a throw-away Docker container made from image:1", 1)
	})
	t.Run("mongod before Docker", func(t *testing.T) {
		t.Setenv(MongodVariable, mongod)
		find(t, "a throw-away server from "+mongod, 0)
	})
	t.Run("variable before mongod", func(t *testing.T) {
		t.Setenv(MongodVariable, mongod)
		t.Setenv(testVariable, set.URI())
		find(t, "the server that "+testVariable+" names", 0)
	})
	t.Run("a server that was found is left alone", func(t *testing.T) {
		if _, err := inspect(t.Context(), set.URI()); err != nil {
			t.Error(err)
		}
	})
}

func TestFindMongodOrder(t *testing.T) {
	emptyMachine(t)
	root, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	deep := filepath.Join(root, "a", "b")
	if err := os.MkdirAll(deep, 0o755); err != nil {
		t.Fatal(err)
	}
	t.Chdir(deep)
	expect := func(want string) {
		t.Helper()
		if got, err := findMongod(""); err != nil || got != want {
			t.Errorf("findMongod = %q, %v, want %q", got, err, want)
		}
	}
	expect("")
	inRoot := fakeMongod(t, filepath.Join(root, CachePath))
	expect("") // A directory above that is no checkout is none of ours.
	if err := os.WriteFile(filepath.Join(root, "go.mod"), nil, 0o644); err != nil {
		t.Fatal(err)
	}
	expect(inRoot)
	here := fakeMongod(t, filepath.Join(deep, CachePath))
	expect(here)
	onPath := fakeMongod(t, filepath.Join(t.TempDir(), "mongod"))
	t.Setenv("PATH", filepath.Dir(onPath))
	expect(onPath)
	named := fakeMongod(t, filepath.Join(t.TempDir(), "named"))
	t.Setenv(MongodVariable, named)
	expect(named)
	option := fakeMongod(t, filepath.Join(t.TempDir(), "option"))
	if got, err := findMongod(option); err != nil || got != option {
		t.Errorf("findMongod(option) = %q, %v", got, err)
	}
}

func TestFindNamesAllWays(t *testing.T) {
	emptyMachine(t)
	refused := errors.New("no engine answers")
	for _, docker := range []func(context.Context) (*Container, error){
		nil,
		func(context.Context) (*Container, error) { return nil, refused },
	} {
		_, err := Find(t.Context(), Options{Variables: []string{testVariable}, Docker: docker})
		if !errors.Is(err, ErrNotFound) {
			t.Fatalf("Find = %v, want ErrNotFound", err)
		}
		for _, part := range []string{testVariable, MongodVariable, "PATH", "make mongod", CachePath, "Docker"} {
			if !strings.Contains(err.Error(), part) {
				t.Errorf("%q does not name %s", err, part)
			}
		}
		if docker != nil && !errors.Is(err, refused) {
			t.Errorf("%q does not say what Docker answered", err)
		}
	}
}

func TestFindFailsWithTheReason(t *testing.T) {
	mongod := mongodPath(t)
	emptyMachine(t)
	nobody, err := freePort()
	if err != nil {
		t.Fatal(err)
	}
	standalone := startStandalone(t, mongod)
	for _, test := range []struct {
		name, mongod, uri string
		opts              Options
		want              []string
	}{
		{name: "mongod that is not there", mongod: "/nowhere/mongod", want: []string{MongodVariable, "/nowhere/mongod"}},
		{name: "mongod that does not load", mongod: fakeMongod(t, filepath.Join(t.TempDir(), "mongod")), want: []string{"exit status 127", "libcurl.so.4"}},
		{name: "mongod that refuses an option", mongod: mongod, opts: Options{Parameters: map[string]string{"noSuchParameter": "1"}}, want: []string{"noSuchParameter"}},
		{name: "time over", mongod: mongod, opts: Options{StartTimeout: time.Nanosecond}, want: []string{"no primary within 1ns"}},
		{name: "server that is away", uri: "mongodb://" + net.JoinHostPort("127.0.0.1", itoa(nobody)) + "/?replicaSet=rs0", opts: Options{StartTimeout: 300 * time.Millisecond}, want: []string{testVariable, "no primary within 300ms"}},
		{name: "server without a replica set", uri: standalone.URI(), want: []string{testVariable, "not a member of a replica set", "rs.initiate()"}},
		{name: "connection string with a mistake", uri: "mongodb://user:s3cr/et@host/", want: []string{testVariable, "not a valid one"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Setenv(MongodVariable, test.mongod)
			t.Setenv(testVariable, test.uri)
			temp := t.TempDir()
			t.Setenv("TMPDIR", temp)
			opts := test.opts
			opts.Variables = []string{testVariable}
			opts.Docker = func(context.Context) (*Container, error) {
				t.Error("passed over in silence for Docker")
				return nil, errors.New("no")
			}
			server, err := Find(t.Context(), opts)
			if err == nil {
				server.Close()
				t.Fatal("no error")
			}
			for _, part := range test.want {
				if !strings.Contains(err.Error(), part) {
					t.Errorf("%q does not say %q", err, part)
				}
			}
			for _, secret := range []string{"s3cr", "et@host"} {
				if strings.Contains(err.Error(), secret) {
					t.Errorf("%q shows %q", err, secret)
				}
			}
			if left, err := os.ReadDir(temp); err != nil || len(left) > 0 {
				t.Errorf("left behind: %v, %v", left, err)
			}
		})
	}
}
