// Package mongodb finds or starts a MongoDB replica set for development, demos, benchmarks and tests.
//
// [Find] takes the first of three ways and says in [Server.How] which one it took:
//
//  1. a connection string in an environment variable that the caller names;
//  2. a mongod from $MONGOD, the PATH or .cache/mongod in the checkout, started on a free loopback port with a
//     throw-away directory as a replica set of one;
//  3. Docker, through a function that the caller passes in, so that a binary which must not carry a Docker client does
//     not link one.
//
// Where none of them is there, the error names all three. A way that is there but fails is an error as well: it is
// never passed over in silence for the next one.
//
// [StartReplicaSet] starts a set of any size from a mongod, with a handle on each [Member] to kill, pause, resume, shut
// down and start it again.
//
// # What is left behind
//
// Nothing. [Server.Close] and [ReplicaSet.Close] kill the servers, wait for them and remove their directory. When the
// program dies without calling them, even by SIGKILL, a helper process of a few lines of shell notices the end of its
// standard input, kills what still runs and removes the directory; on Linux the kernel ends the servers already before
// that. Servers are in process groups of their own, so an interrupt typed at the terminal reaches the program alone,
// which can then finish its work with its database still there.
//
// The data is worth nothing after the end, so servers are ended by SIGKILL. While they run they are as durable as any
// other: journal, majority writes, elections.
package mongodb
