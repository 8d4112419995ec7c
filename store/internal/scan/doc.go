// Package scan decides where in the claim index a claim searches for what is due, and which of what it found it takes.
// It reads nothing itself: everything that it knows was observed by earlier claims of this process.
//
// A claim goes through a [Queue] in five steps:
//
//	c := q.Enter(now, order)                  // it is one of this process's claims now
//	ranges := q.Plan(now, until, c)           // and again, until nothing is left to read
//	q.Observe(now, c, r, result)              // for each of them
//	chosen := q.Choose(c)                     // no other claim of this process chooses these
//	q.Leave(c)
//
// Why not search from the very front each time: the server keeps the index entries of what was claimed in the last
// minutes, and such a search walks over all of them. So the search of a busy worker begins shortly before the first
// entry that the last one found. What has come to stand before that is found by a second range, which reaches back to
// the very front, now and then. docs/performance.md has the table of these distances.
//
// Nothing here is relied on. A wrong guess makes a claim dearer or an intent later. Whether an intent may be taken is
// asked of its document.
//
// A Queue is not safe for concurrent use. Its owner holds a lock during each call, and never while it reads.
package scan
