package main

import (
	"cmp"
	"fmt"
	"runtime"
	"runtime/debug"

	"github.com/alecthomas/kong"
)

// release is set by the linker (-X main.release=v1.2.3) where the version does not come from the module system.
var release string

type versionCmd struct{}

// versionFlag prints the version in place of a command.
type versionFlag bool

// BeforeReset prints it, and ends the program.
func (versionFlag) BeforeReset(app *kong.Kong, p *program) error {
	if err := (versionCmd{}).Run(p); err != nil {
		return err
	}
	app.Exit(exitDone)
	return nil
}

func (versionCmd) Run(p *program) error {
	version, revision := build()
	if revision != "" {
		revision = " (" + revision + ")"
	}
	_, err := fmt.Fprintf(p.out, "outboxd %s%s %s %s/%s\n", version, revision, runtime.Version(), runtime.GOOS, runtime.GOARCH)
	return err
}

// build returns what is known of how this binary was built: its version, and the commit it was built from.
func build() (version, revision string) {
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return cmp.Or(release, "unknown"), ""
	}
	modified := ""
	for _, s := range info.Settings {
		switch s.Key {
		case "vcs.revision":
			revision = s.Value[:min(12, len(s.Value))]
		case "vcs.modified":
			if s.Value == "true" {
				modified = "+changes"
			}
		}
	}
	if revision != "" {
		revision += modified
	}
	version = info.Main.Version
	if version == "(devel)" {
		version = ""
	}
	return cmp.Or(release, version, "development"), revision
}
