package config

import "github.com/outboxd/outboxd/providers"

// LoadSecret reads a variable that holds a secret, or the file that its _FILE variant names. It is empty if neither is
// set. The error lists the problems and never repeats the secret.
func LoadSecret(src Source, variable string) (providers.Secret, error) {
	r := &reader{Source: src}
	secret, _ := r.secret(variable)
	return secret, r.problems.orNil()
}
