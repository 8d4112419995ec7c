package main

import (
	"errors"
	"fmt"
	"os"

	"github.com/outboxd/outboxd/admin/auth"
)

type adminCmd struct {
	Token adminTokenCmd `cmd:"" help:"Make tokens with which people and programs sign in."`
}

type adminTokenCmd struct {
	New adminTokenNewCmd `cmd:"" help:"Make a token, and print its secret once."`
}

type adminTokenNewCmd struct {
	Name string `arg:"" help:"Whose token it is, as records of the audit show it: letters, digits, dots and hyphens."`
	Role string `required:"" placeholder:"ROLE" help:"Role of the token: read, reveal, operate, approve, or one of the configuration."`
	File string `placeholder:"PATH" help:"Tokens file that gets the new line. Without it the line is printed."`
}

func (adminTokenNewCmd) Help() string {
	return `The first line printed is the secret. Nobody can read it again: the tokens file holds only a hash of it (argon2id).
With --file the line is added to that file, which is made if it is missing. A name can be there once.`
}

func (c adminTokenNewCmd) Run(p *program) error {
	secret, line, err := auth.NewToken(c.Name, c.Role)
	if err != nil {
		return wrongUse("%v", err)
	}
	if c.File == "" {
		_, err = fmt.Fprintf(p.out, "%s\n%s\n", secret, line)
		return err
	}
	if err := addToken(c.File, c.Name, line); err != nil {
		return err
	}
	_, err = fmt.Fprintln(p.out, secret)
	return err
}

// addToken adds a line to a tokens file, which has to be in order before.
func addToken(path, name, line string) error {
	switch tokens, err := auth.LoadTokens(path); {
	case errors.Is(err, os.ErrNotExist):
	case err != nil:
		return err
	default:
		if _, there := tokens.Role(name); there {
			return fmt.Errorf("the tokens file %s has a token %s already: take its line out first, which ends its sessions", path, name)
		}
	}
	before, err := os.ReadFile(path)
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("add to the tokens file: %w", err)
	}
	if n := len(before); n > 0 && before[n-1] != '\n' { // the last line may have been written by hand
		line = "\n" + line
	}
	f, err := os.OpenFile(path, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600)
	if err != nil {
		return fmt.Errorf("add to the tokens file: %w", err)
	}
	_, err = fmt.Fprintln(f, line)
	if err = errors.Join(err, f.Close()); err != nil {
		return fmt.Errorf("add to the tokens file: %w", err)
	}
	return nil
}
