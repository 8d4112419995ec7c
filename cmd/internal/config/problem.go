package config

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
	"unicode"
)

// Problem is one thing that is wrong with the configuration.
type Problem struct {
	Where string // "flag --drain", "variable OUTBOXD_DRAIN", or file, line and key
	Text  string // what is wrong and what is right; never a secret
}

// String returns the problem as one line.
func (p Problem) String() string { return p.Where + ": " + p.Text }

// Problems is everything that is wrong with the configuration, in the order in which it was found.
type Problems []Problem

// Error lists the problems, one a line.
func (p Problems) Error() string {
	lines := make([]string, len(p))
	for i, problem := range p {
		lines[i] = "  " + problem.String()
	}
	what := "1 problem"
	if len(p) > 1 {
		what = fmt.Sprintf("%d problems", len(p))
	}
	return what + " with the configuration:\n" + strings.Join(lines, "\n")
}

// Join returns the problems of several errors of this package together, nil if there are none. An error of another kind
// becomes a problem of its own.
func Join(errs ...error) error {
	var all Problems
	for _, err := range errs {
		if err == nil {
			continue
		}
		if some, ok := errors.AsType[Problems](err); ok {
			all = append(all, some...)
			continue
		}
		all = append(all, Problem{Where: "configuration", Text: err.Error()})
	}
	return all.orNil()
}

func (p Problems) orNil() error {
	if len(p) == 0 {
		return nil
	}
	return p
}

// add notes a problem as one line, whatever the file or the environment has in it.
func (p *Problems) add(where, format string, args ...any) {
	*p = append(*p, Problem{Where: oneLine(where), Text: oneLine(fmt.Sprintf(format, args...))})
}

func oneLine(text string) string {
	return strings.Map(func(r rune) rune {
		if unicode.IsControl(r) {
			return '?'
		}
		return r
	}, text)
}

// quoted is a setting's value that a problem repeats. Where a person took one variable for another it may be a
// connection string or a key: what has an @ or is long is not repeated.
type quoted string

// String quotes the value, or says that there is one.
func (s quoted) String() string {
	if strings.Contains(string(s), "@") || len(s) > 30 {
		return "the value"
	}
	return strconv.Quote(string(s))
}
