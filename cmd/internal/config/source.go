package config

import (
	"os"
	"slices"
	"strings"
	"time"

	"github.com/outboxd/outboxd/providers"
)

// Source is where settings come from.
type Source struct {
	// Flags are those given on the command line, by name without dashes.
	Flags map[string]string
	// Env returns a variable's value, empty if it is not set.
	Env func(name string) string
}

// setting is one value that a flag or a variable may hold.
type setting struct{ flag, variable, fallback string }

// reader reads settings and gathers the problems.
type reader struct {
	Source
	problems Problems
}

// text returns a setting's value and where it stands; an unset one is its default and stands nowhere.
func (r *reader) text(s setting) (value, where string) {
	if v, ok := r.Flags[s.flag]; ok && s.flag != "" {
		where = "flag --" + s.flag
		if v == "" {
			r.problems.add(where, "is empty")
		}
		return v, where
	}
	if v := r.Env(s.variable); v != "" {
		return v, "variable " + s.variable
	}
	return s.fallback, ""
}

// duration returns a setting that must be a duration of at least the given length.
func (r *reader) duration(s setting, least time.Duration) time.Duration {
	value, where := r.text(s)
	d, err := time.ParseDuration(value)
	switch {
	case value == "" && where != "":
	case err != nil:
		r.problems.add(where, "%v is no duration; write one like 30s or 5m", quoted(value))
	case d < least:
		r.problems.add(where, "is %v, must be at least %v", d, least)
	}
	return d
}

// oneOf returns a setting that must be one of a few words.
func (r *reader) oneOf(s setting, words ...string) string {
	value, where := r.text(s)
	if slices.Contains(words, value) {
		return value
	}
	if value != "" {
		r.problems.add(where, "is %v, must be one of %s", quoted(value), strings.Join(words, ", "))
	}
	return value
}

// fileSuffix makes the name of the variable that holds a path to the value.
const fileSuffix = "_FILE"

// secret returns the value of a secret variable, or of the file that its _FILE variant names, and which of the two it
// was. A newline at the end of the file is not part of the value.
func (r *reader) secret(variable string) (value providers.Secret, where string) {
	plain, path := r.Env(variable), r.Env(variable+fileSuffix)
	switch {
	case plain != "" && path != "":
		r.problems.add("variable "+variable, "and %s are both set; unset one of them", variable+fileSuffix)
		return providers.Secret(plain), "variable " + variable
	case plain != "":
		return providers.Secret(plain), "variable " + variable
	case path == "":
		return "", ""
	}
	where = "variable " + variable + fileSuffix
	data, err := os.ReadFile(path)
	if err != nil {
		r.problems.add(where, "its file cannot be read: %v", err)
		return "", where
	}
	text := providers.Secret(strings.TrimRight(string(data), "\r\n"))
	if text == "" {
		r.problems.add(where, "its file %s is empty", path)
	}
	return text, where
}
