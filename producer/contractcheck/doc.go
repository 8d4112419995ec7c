// Package contractcheck holds module producer against the contract and a real MongoDB. It is a module of its own, so
// that neither of the two modules needs the other.
package contractcheck
