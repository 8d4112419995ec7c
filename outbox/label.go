package outbox

// The labels under which a provider knows an intent (contract, "Identity"). Together they are the intent's key without
// the step, so that two intents never have the same ones.
const (
	ReservedMetadata  = "outbox_id"  // the text of the _id
	ReservedNamespace = "outbox_ns"  // the namespace of the outbox
	ReservedKey       = "outbox_key" // the letter of the id's type, and the generation: "s0"
)

// Reserved are the names that a producer's metadata must not use.
var Reserved = [...]string{ReservedMetadata, ReservedNamespace, ReservedKey}

// TypeAndGeneration returns the part of the intent's keys that tells the id's type and the generation, such as "s0".
// It is the value of the label [ReservedKey].
func (in *Intent) TypeAndGeneration() string { return in.ID.Type().letter() + itoa(in.Generation) }

// Labels returns the three labels with their values. The namespace's is empty where the outbox has none.
func (in *Intent) Labels() map[string]string {
	return map[string]string{
		ReservedMetadata:  in.ID.String(),
		ReservedNamespace: in.Namespace,
		ReservedKey:       in.TypeAndGeneration(),
	}
}

// reserved adds a problem for each reserved name in a producer's metadata, with or without a value.
func (r *reader) reserved(field string) {
	metadata, _ := r.doc[field].(map[string]any)
	for _, name := range Reserved {
		if _, ok := metadata[name]; ok {
			r.problem(field+"."+name, "is reserved")
		}
	}
}
