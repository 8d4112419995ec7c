// Package worker is `outboxd worker` as a function: it wires the store, the providers, the dispatcher, the metrics
// and the health endpoints together, and ends them in order.
//
// # Ending
//
// The first signal, or the end of the context, stops claiming. Calls under way end by themselves, bounded by the
// drain time; after it they are cancelled, and the error is [ErrDrainOver]. A second signal cancels them at once, and
// the error is [ErrInterrupted]. What was cancelled in the middle is settled as ambiguous either way. A third signal
// ends the process as it is.
//
// When [Run] returns, every goroutine started here has ended. There is one exception: long after its calls were
// cancelled, the dispatcher may still not have ended. Then Run says so and returns without it, so that the process
// can end.
package worker
