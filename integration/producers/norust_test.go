//go:build !rust

package producers

// withRust says whether the page for Rust is run: its driver takes a minute to compile, so that `make producers` does
// it.
const withRust = false
