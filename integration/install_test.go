package integration

import (
	"archive/zip"
	"io/fs"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// installed is the version under which the tests below build.
const installed = "v0.0.1"

// The README's install commands, as they stand. `go install` takes the module from a proxy on disk; what it depends on
// comes from the module cache.
func TestInstall(t *testing.T) {
	t.Parallel()
	readme, err := os.ReadFile(filepath.Join("..", "README.md"))
	if err != nil {
		t.Fatal(err)
	}
	block := regexp.MustCompile("(?s)## Install\n\n```sh\n(.*?)```").FindSubmatch(readme)
	if block == nil {
		t.Fatal("the README has no section on how to install")
	}
	commands := make(map[string]string)
	for line := range strings.Lines(string(block[1])) {
		command, _, _ := strings.Cut(line, "#")
		command = strings.TrimSpace(command)
		commands[strings.Join(strings.Fields(command)[:2], " ")] = command
	}
	for name, run := range map[string]func(*testing.T, string){"go install": goInstall, "make build": makeBuild, "make image": makeImage} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if commands[name] == "" {
				t.Fatalf("the README's section on how to install has no %q", name)
			}
			run(t, commands[name])
		})
	}
	if len(commands) != 3 {
		t.Errorf("the README has %d commands to install, of which 3 are tested", len(commands))
	}
}

// goInstall runs the command in an empty folder.
func goInstall(t *testing.T, command string) {
	proxy := moduleProxy(t)
	cache := output(t, ".", nil, "go", "env", "GOMODCACHE")
	bin := t.TempDir()
	output(t, t.TempDir(), []string{"GOBIN=" + bin, "GOMODCACHE=" + t.TempDir(), "GOWORK=off", "GOSUMDB=off",
		"GOFLAGS=-modcacherw -trimpath", "GOPROXY=file://" + proxy + ",file://" + filepath.Join(cache, "cache", "download")}, "bash", "-c", command)
	if version := output(t, bin, nil, "./outboxd", "version"); !strings.Contains(version, installed) {
		t.Errorf("what is installed says %q, want %s", version, installed)
	}
}

// moduleProxy returns a folder from which the go command takes this module, in the form that proxies serve
// (go.dev/ref/mod, "Module proxies").
func moduleProxy(t *testing.T) string {
	t.Helper()
	const module = "github.com/outboxd/outboxd"
	dir := t.TempDir()
	files := filepath.Join(dir, filepath.FromSlash(module), "@v")
	if err := os.MkdirAll(files, 0o755); err != nil {
		t.Fatal(err)
	}
	archive, err := os.Create(filepath.Join(files, installed+".zip"))
	if err != nil {
		t.Fatal(err)
	}
	defer archive.Close()
	w := zip.NewWriter(archive)
	eachFile(t, func(name string, data []byte) {
		f, err := w.Create(module + "@" + installed + "/" + name)
		if err == nil {
			_, err = f.Write(data)
		}
		if err != nil {
			t.Fatal(err)
		}
	})
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	mod, err := os.ReadFile(filepath.Join("..", "go.mod"))
	if err != nil {
		t.Fatal(err)
	}
	for name, text := range map[string]string{
		installed + ".mod": string(mod), installed + ".info": `{"Version":"` + installed + `"}`, "list": installed + "\n",
	} {
		if err := os.WriteFile(filepath.Join(files, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

// eachFile goes through what a module holds of this checkout: no other module, nothing hidden, nothing built.
func eachFile(t *testing.T, take func(name string, data []byte)) {
	t.Helper()
	root := ".."
	err := filepath.WalkDir(root, func(file string, d fs.DirEntry, err error) error {
		if err != nil || file == root {
			return err
		}
		name, err := filepath.Rel(root, file)
		if err != nil {
			return err
		}
		if d.IsDir() {
			_, other := os.Stat(filepath.Join(file, "go.mod"))
			if other == nil || strings.HasPrefix(d.Name(), ".") || name == "bin" {
				return filepath.SkipDir
			}
			return nil
		}
		if !d.Type().IsRegular() {
			return nil
		}
		data, err := os.ReadFile(file)
		if err == nil {
			take(filepath.ToSlash(name), data)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
}

// makeBuild runs the command in the checkout.
func makeBuild(t *testing.T, command string) {
	output(t, "..", nil, "bash", "-c", command)
	for _, program := range []string{"./bin/outboxd", "./bin/outbox-api"} {
		if help := output(t, "..", nil, program, "--help"); !strings.Contains(help, "Usage:") {
			t.Errorf("%s --help says %q", program, help)
		}
	}
}

// makeImage does what the Dockerfile's build stage does, with the files that .dockerignore lets through. The image
// itself needs a Docker engine, which a test cannot take for granted.
func makeImage(t *testing.T, command string) {
	if told := output(t, "..", nil, "make", "--no-print-directory", "--dry-run", strings.TrimPrefix(command, "make ")); !strings.HasPrefix(told, "docker build ") {
		t.Errorf("%s does %q", command, told)
	}
	src, out := t.TempDir(), t.TempDir()
	ignored := ignoredByDocker(t)
	eachFile(t, func(name string, data []byte) {
		if ignored(name) {
			return
		}
		file := filepath.Join(src, filepath.FromSlash(name))
		err := os.MkdirAll(filepath.Dir(file), 0o755)
		if err == nil {
			err = os.WriteFile(file, data, 0o600)
		}
		if err != nil {
			t.Fatal(err)
		}
	})
	dockerfile, err := os.ReadFile(filepath.Join("..", "Dockerfile"))
	if err != nil {
		t.Fatal(err)
	}
	build := regexp.MustCompile(`(?m)^RUN (go build (?:.*\\\n)*.*)$`).FindSubmatch(dockerfile)
	if build == nil {
		t.Fatal("the Dockerfile builds nothing")
	}
	output(t, src, []string{"CGO_ENABLED=0", "GOWORK=off", "VERSION=" + installed}, "bash", "-c", strings.ReplaceAll(string(build[1]), "/out/", out+"/"))
	for _, copied := range regexp.MustCompile(`/out/([a-z-]+)`).FindAllSubmatch(regexp.MustCompile(`(?m)^COPY --from=build /out/.*$`).Find(dockerfile), -1) {
		if _, err := os.Stat(filepath.Join(out, string(copied[1]))); err != nil {
			t.Errorf("the Dockerfile copies what it does not build: %v", err)
		}
	}
	if version := output(t, out, nil, "./outboxd", "version"); !strings.Contains(version, installed) {
		t.Errorf("the image's outboxd says %q, want %s", version, installed)
	}
}

// ignoredByDocker reports what .dockerignore keeps out, by those of its patterns that are in use here.
func ignoredByDocker(t *testing.T) func(name string) bool {
	t.Helper()
	text, err := os.ReadFile(filepath.Join("..", ".dockerignore"))
	if err != nil {
		t.Fatal(err)
	}
	return func(name string) bool {
		for line := range strings.Lines(string(text)) {
			pattern := strings.TrimSpace(line)
			if pattern == "" || strings.HasPrefix(pattern, "#") {
				continue
			}
			deep, anywhere := strings.CutPrefix(pattern, "**/")
			parts := strings.Split(name, "/")
			for i := range parts {
				at := strings.Join(parts[:i+1], "/")
				if anywhere {
					at = parts[i]
				}
				if matched, err := path.Match(deep, at); err == nil && matched {
					return true
				}
			}
		}
		return false
	}
}

// output runs a command and returns what it printed.
func output(t *testing.T, dir string, env []string, name string, args ...string) string {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), name, args...)
	cmd.Dir, cmd.Env = dir, append(os.Environ(), env...)
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%s %s: %v\n%s", name, strings.Join(args, " "), err, out)
	}
	return strings.TrimSpace(string(out))
}
