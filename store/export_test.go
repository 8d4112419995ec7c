package store

// Parts that tests outside the package need to write and read documents as the store does.
var (
	Encode = encodeDocument
	Decode = decode
)
