// Package page is the operators' web page: views of the outbox, and a form for each change.
//
// Everything is rendered here. Each view has its state in its URL, each change is a form, and both work without
// JavaScript. With it, views stay current, times are local, and keys lead from view to view. Nothing is loaded from
// elsewhere, and no markup has script or style in it, as the policy of package auth wants.
//
// Whatever a producer wrote is hostile here: templates escape it, [clean] takes signs out that nobody can see, and an
// intent's name stands in a path as base64url only. Package admin masks what is about a person before it comes here.
package page

//go:generate go run ../../cmd/templates .
