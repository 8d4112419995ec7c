package main

import (
	"errors"
	"slices"
	"strings"

	"github.com/alecthomas/kong"
)

// anywhere are the flags that may stand before the command as well. Each takes a value.
var anywhere = []string{"--mongodb-uri", "--database", "--collection", "--connect-timeout", "--log-level", "--log-format"}

// arranged returns the arguments as the grammar takes them: flags of a command follow it, and help is a flag.
func arranged(args []string) []string {
	n := 0
	for n < len(args) {
		name, _, whole := strings.Cut(args[n], "=")
		if !slices.Contains(anywhere, name) {
			break
		}
		if n++; !whole {
			n++
		}
	}
	n = min(n, len(args))
	leading, rest := args[:n], slices.Clone(args[n:])
	if len(rest) > 0 && rest[0] == "help" {
		rest = append(rest[1:], "--help")
	}
	if len(rest) == 0 {
		return leading
	}
	end := slices.Index(rest, "--") // what follows it are no flags
	if end < 0 {
		end = len(rest)
	}
	return slices.Insert(rest, end, leading...)
}

// command returns the command that could not be read, as far as it was known.
func command(err error) string {
	words := []string{"outboxd"}
	if e, ok := errors.AsType[*kong.ParseError](err); ok && e.Context != nil {
		for _, path := range e.Context.Path {
			if path.Command != nil {
				words = append(words, path.Command.Name)
			}
		}
	}
	return strings.Join(words, " ")
}
