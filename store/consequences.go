package store

// followUp and update come with transaction support.
type followUp struct{}
type update struct{}
