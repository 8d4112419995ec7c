package migrations

// version is one released state of the schema. It is frozen with its release.
type version struct {
	number int
	name   string
	// oldest is the oldest version whose workers can still work with this schema, so that a database can be migrated
	// before its workers are replaced. A version that only adds keeps it.
	oldest   int
	contract *contract
	objects  func(layout, *contract) []object
}

// versions returns all versions, oldest first.
func versions() []version {
	return []version{
		{number: 1, name: "intents", oldest: 1, contract: v1Contract(), objects: v1Objects},
	}
}

func latest() version {
	all := versions()
	return all[len(all)-1]
}

// layout holds the names of the collections, all derived from the outbox's.
type layout struct{ outbox, dead, lanes, workers, rates, jobs, audit, sessions, answers, meta string }

func layoutOf(outbox string) layout {
	return layout{
		outbox: outbox, dead: outbox + "_dead", lanes: outbox + "_lanes", workers: outbox + "_workers", rates: outbox + "_rates",
		jobs: outbox + "_jobs", audit: outbox + "_audit", sessions: outbox + "_sessions", answers: outbox + "_answers", meta: outbox + "_meta",
	}
}

// objects folds the objects of all versions: a later version's object of the same name replaces the earlier one in its
// place.
func (l layout) objects() []object {
	var list []object
	place := map[string]int{}
	for _, v := range versions() {
		for _, o := range v.objects(l, v.contract) {
			if i, known := place[o.id()]; known {
				list[i] = o
				continue
			}
			place[o.id()] = len(list)
			list = append(list, o)
		}
	}
	return list
}
