package outbox

// Codes of failures: the values of last_error.code. They are public; a code is added, never renamed or given another
// meaning. docs/codes.md is generated from [Codes].
const (
	CodeNotSent          = "not_sent"
	CodeNoAnswer         = "no_answer"
	CodeBadAnswer        = "bad_answer"
	CodeRedirected       = "redirected"
	CodeAborted          = "aborted"
	CodeLeaseExpired     = "lease_expired"
	CodeServerError      = "server_error"
	CodeUnavailable      = "unavailable"
	CodeConflict         = "conflict"
	CodeRateLimited      = "rate_limited"
	CodeSenderQueueFull  = "sender_queue_full"
	CodeUnauthorized     = "unauthorized"
	CodeForbidden        = "forbidden"
	CodeRejected         = "rejected"
	CodeDeclined         = "declined"
	CodeActionRequired   = "action_required"
	CodeBadRecipient     = "bad_recipient"
	CodeOptedOut         = "opted_out"
	CodeKeyReused        = "key_reused"
	CodeReplayedError    = "replayed_error"
	CodeCanceled         = "canceled"
	CodeNotFound         = "not_found"
	CodeCannotTell       = "cannot_tell"
	CodeInvalid          = "invalid"
	CodeExpired          = "expired"
	CodeAttemptsUsed     = "attempts_used"
	CodePanicked         = "panicked"
	CodeWriteBackMissed  = "write_back_missed"
	CodeFollowUpRefused  = "follow_up_refused"
	CodeUnclassified     = "unclassified"
	CodeProgressNotSaved = "progress_not_saved"
	CodeMismatch         = "mismatch"
	CodeRefused          = "refused"
	CodeNotTheProvider   = "not_the_provider"
)

// CodeInfo describes one code for docs/codes.md.
type CodeInfo struct {
	Code    string
	Classes []Class // the classes with which it occurs
	Meaning string
	Remedy  string
}

// Codes lists every code that may stand in last_error.code, in the order of the documentation. The caller may keep
// it. A code can be ambiguous for a request that acts, and transient for one that only prepares or asks, such as
// creating or getting a PaymentIntent. Whatever became of the latter, nothing was acted upon.
func Codes() []CodeInfo {
	return []CodeInfo{
		{CodeNotSent, []Class{Transient}, "No connection was ever handed the request: a name that does not resolve, a refused connection, a failed TLS handshake, or no time left.", "None; it is tried again. If it lasts, look at the network and the provider's base URL."},
		{CodeNoAnswer, []Class{Ambiguous, Transient}, "The request may have left, and no answer came: a timeout, a reset, a closed connection.", "Settled by on_ambiguous. A dead letter with it needs a person who asks the provider."},
		{CodeBadAnswer, []Class{Ambiguous, Transient}, "An answer came that cannot be read: truncated, not of the provider's format, or too large.", "As no_answer."},
		{CodeRedirected, []Class{Ambiguous, Transient}, "The provider's address answered with a redirect, which is never followed.", "Check the provider's base URL, and for a proxy in between."},
		{CodeAborted, []Class{Ambiguous, Transient}, "The worker was told to stop and the drain time ended while the call was under way.", "Settled by on_ambiguous. Give the worker more drain time than the longest call."},
		{CodeLeaseExpired, []Class{Ambiguous}, "The lease ran out while a worker held the intent: it died, stalled, or lost the database.", "Settled by on_ambiguous."},
		{CodeServerError, []Class{Ambiguous, Transient}, "The provider answered with a server error, which does not say whether it acted.", "Settled by on_ambiguous."},
		{CodeUnavailable, []Class{Ambiguous, Transient}, "The provider or a gateway in front of it said that it is not available.", "Settled by on_ambiguous; transient where the provider states that it did not act."},
		{CodeConflict, []Class{Transient}, "The provider is still busy with an earlier request under the same idempotency key or on the same object.", "None; the same key is tried again."},
		{CodeRateLimited, []Class{RateLimited}, "The provider refused because of its rate limit and did not act.", "None; the lane waits. If it lasts, set the lane's rate."},
		{CodeSenderQueueFull, []Class{RateLimited}, "The queue of this one sender is full at the provider.", "None; the sender's intents wait a minute. Use more senders or send less."},
		{CodeUnauthorized, []Class{Hold}, "The provider does not accept our credentials.", "Correct the credentials and restart, or resume the lane. No intent was lost."},
		{CodeForbidden, []Class{Hold, Permanent}, "The provider does not let this account do this.", "Hold: mend the account, then resume the lane. Permanent: this one request is not allowed."},
		{CodeRejected, []Class{Permanent}, "The provider refused the request as it stands.", "Mend the producer; write a new intent."},
		{CodeDeclined, []Class{Permanent}, "The card was declined; provider_code says why.", "A matter for the customer: another payment method, a new intent."},
		{CodeActionRequired, []Class{Permanent}, "The payment needs the customer to act (authentication).", "Bring the customer on session; write a new intent."},
		{CodeBadRecipient, []Class{Permanent}, "The recipient cannot be reached this way: not a number, a landline, no route, or the like.", "Correct the recipient; write a new intent."},
		{CodeOptedOut, []Class{Permanent}, "The recipient has opted out.", "None. Do not send again."},
		{CodeKeyReused, []Class{Permanent}, "The provider knows the key of the confirmation with other parameters: the payload was changed under the same _id.", "The first request's outcome stands. Ask the provider; never change an intent's payload."},
		{CodeReplayedError, []Class{Ambiguous, Transient}, "The provider replays a stored server error under this key: repeating cannot tell more.", "Settled by asking the provider."},
		{CodeCanceled, []Class{Permanent}, "The payment was cancelled at the provider.", "Find out who cancelled it; write a new intent if it is still wanted."},
		{CodeNotFound, []Class{Permanent, Ambiguous}, "The provider does not know an object that the request names, such as a customer or an account.", "Check what the intent names, and the account and mode of the API key; write a new intent."},
		{CodeCannotTell, []Class{Ambiguous}, "The provider was asked and its answer does not settle whether it acted: two like texts, a text that was changed on its way, too many records to compare, an effect of older code.", "A person must compare with the provider's own records, and answer with `outboxd resolve`."},
		{CodeInvalid, []Class{Invalid}, "The document breaks the contract; the message lists the problems.", "Mend the producer; write a new intent."},
		{CodeExpired, []Class{Expired}, "expires_at passed before the intent was sent.", "None. If it happens often, add workers or give it more time."},
		{CodeAttemptsUsed, []Class{Transient}, "No attempt is left; max_attempts was lowered or the last attempts ended without a verdict.", "Look at history; retry the dead letter once the cause is mended."},
		{CodePanicked, []Class{Ambiguous}, "The provider's code panicked in the middle of a call.", "Report it: it is a defect. Settled by on_ambiguous."},
		{CodeWriteBackMissed, []Class{Done, Permanent, Transient, Ambiguous, Invalid, Expired}, "The outcome is settled, but the business document named by write_back does not exist or did not take it. The class and the rest of the message are of the intent itself.", "Check the producer's write_back.id."},
		{CodeFollowUpRefused, []Class{Invalid, Permanent, Transient, Ambiguous, Expired}, "A follow-up could not be inserted as it stands; it is kept as a dead letter of its own.", "Mend the producer; write the follow-up as a new intent."},
		{CodeUnclassified, []Class{Ambiguous, Transient}, "The provider's answer fits no known rule.", "Report it with the HTTP status and the provider's code. Settled by on_ambiguous."},
		{CodeProgressNotSaved, []Class{Transient}, "The step before the effect could not be stored, so the effect was not begun.", "None; it is tried again."},
		{CodeMismatch, []Class{Permanent}, "What the provider shows differs from the payload: another intent's object, or a payload that was changed. Nothing was confirmed on the strength of it; the message names the field, and says so where it is charged already.", "Find out who changed what. `dead retry` makes a new payment after it cancelled the old one; it refuses again while the old one is charged."},
		{CodeRefused, []Class{Permanent, Transient}, "The provider refused this intent for its own sake again and again, while it let others pass.", "Look at what the intent names (an account, a sender); mend it and write a new intent."},
		{CodeNotTheProvider, []Class{Hold}, "The answer is not the provider's: a gateway's page, or a path that the provider does not have.", "Check the provider's base URL and what stands between. No intent was lost."},
	}
}
