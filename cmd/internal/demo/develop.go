package demo

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"

	"github.com/outboxd/outboxd/integration/mongodb"
)

// shop is the database of those who develop, which the snippets name.
const shop = "shop"

// Develop sets the stage for somebody who writes a producer. It prints where everything is and what to insert, and
// tells each intent's life until ctx ends. It takes everything down that it put up.
//
// The MongoDB is always one of its own: a connection string in the environment may name a database that people need.
func Develop(ctx context.Context, o Options) (err error) {
	say(o.Out, "Starting a MongoDB, Stripe, SendGrid and Twilio simulated, a worker, and the operators' page …")
	s := new(stage)
	defer func() { err = errors.Join(err, s.clear()) }()
	if err := s.develop(ctx, o); err != nil {
		if ctx.Err() != nil {
			return nil // stopped before all of it stood
		}
		return err
	}
	// Opened before anybody can know where to insert.
	stream, err := s.follow(ctx)
	if err != nil {
		return err
	}
	say(o.Out, s.guide())
	told := make(chan error, 1)
	watching, stop := context.WithCancel(ctx)
	defer stop()
	go func() { told <- tell(watching, stream, newTeller(o.Out, o.Style)) }()
	select {
	case <-s.worker.ended:
		stop()
		<-told //nolint:errcheck // a consequence of the worker's end
		return s.worker.failure("ended")
	case <-s.admin.ended:
		stop()
		<-told //nolint:errcheck // a consequence of its end
		return s.admin.failure("ended")
	case err := <-told:
		if ctx.Err() == nil {
			return err
		}
	}
	say(o.Out, "\nStopping. The database and everything in it is thrown away.")
	return nil
}

func (s *stage) develop(ctx context.Context, o Options) (err error) {
	if s.folder, err = os.MkdirTemp("", "outboxd-dev-"); err != nil {
		return fmt.Errorf("make a folder for the worker's files: %w", err)
	}
	s.later(func() error { return os.RemoveAll(s.folder) })
	if err := s.openDatabase(ctx, mongodb.Options{Docker: dockerMongoDB(ctx)}, shop); err != nil {
		return err
	}
	if err := s.setSimulators(ctx, o); err != nil {
		return err
	}
	if err := s.startWorker(ctx, o, developPolicies); err != nil {
		return err
	}
	s.admin, err = s.startChild(ctx, o, "admin", "--config", s.policies(), "--metrics-listen", "127.0.0.1:0")
	return err
}

// developPolicies are those of the demo. A producer's usual collections may be written back to.
var developPolicies = strings.Replace(policies, "[payments]", "[orders, payments]", 1)

// address is the connection string for producers, with the database in it.
func (s *stage) address() string {
	before, after, found := strings.Cut(s.server.URI, "/?")
	if !found {
		return strings.TrimSuffix(s.server.URI, "/") + "/" + shop
	}
	return before + "/" + shop + "?" + after
}

// guide says where everything is, and shows two producers that work as they stand.
func (s *stage) guide() string {
	return fmt.Sprintf(`MongoDB %[1]s: %[2]s.

  MongoDB    %[3]s
  Stripe     %[4]s/_sim/effects
  SendGrid   %[5]s/_sim/effects
  Twilio     %[6]s/_sim/effects
  worker     http://%[7]s/metrics
  page       http://%[8]s/

Write an intent. With mongosh, in a shell:

  mongosh '%[3]s' --quiet --eval '
    db.outbox.insertOne({
      kind: "sms", status: "pending", due_at: new Date(),
      payload: { to: "+4915112345678", from: "+15005550006", body: "Your code is 4711" }
    })'

With Node (npm install mongodb), together with business data:

  const { MongoClient } = require("mongodb")
  const client = new MongoClient("%[3]s")
  client.withSession((session) => session.withTransaction(async () => {
    await client.db().collection("orders").insertOne({ state: "new" }, { session })
    await client.db().collection("outbox").insertOne({
      kind: "email", status: "pending", due_at: new Date(),
      payload: { from: "shop@example.com", to: "ada@example.com", subject: "Hello", text: "Done." }
    }, { session })
  })).finally(() => client.close())

What breaks the contract is refused with error 121, which only the producer sees: outboxd explain.
Here is what becomes of the others, until an interrupt (Ctrl-C):
`, s.server.Version, s.server.How, s.address(), s.sims.StripeURL, s.sims.SendGridURL, s.sims.TwilioURL, s.worker.listen(), s.admin.listen())
}
