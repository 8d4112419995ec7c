//go:build rust

package producers

const withRust = true
