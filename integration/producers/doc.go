// Package producers runs what the pages in docs/producers show, each in its own language, against a real MongoDB.
//
// The programs are taken out of the pages as they stand. What they need is fetched by scripts/get-producers, pinned.
package producers
