// Package config reads what a person configured: flags over environment variables over a YAML file over defaults.
//
// A setting that is wrong is a [Problem], which names the flag, the variable or the key of the file that holds it.
// Reading goes on after a problem, so that a person sees all of them at once; the error of every function here is a
// [Problems].
//
// A variable that is empty counts as not set. A variable that may hold a secret also exists with the suffix _FILE,
// which names a file that holds the value (a mounted secret); both at once is a problem. Secrets are of type
// [Secret], which no way of printing shows.
//
// The package reads no environment and keeps no state of its own: the caller hands the environment in.
package config
