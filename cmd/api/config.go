package main

import (
	"cmp"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/url"
	"runtime/debug"
	"strings"
	"time"

	"github.com/outboxd/outboxd/cmd/api/httpapi"
	"github.com/outboxd/outboxd/cmd/api/payments"
	"github.com/outboxd/outboxd/cmd/api/webhook"
	"github.com/outboxd/outboxd/cmd/internal/config"
	"github.com/outboxd/outboxd/cmd/internal/term"
)

// flags are the grammar of the command line. Where they mean the same, names and variables are outboxd's.
type flags struct {
	MongodbURI     string `name:"mongodb-uri" placeholder:"URI" help:"Connection string of a replica set. Default: ${mongodb_uri}." var:"OUTBOXD_MONGODB_URI"`
	Database       string `placeholder:"NAME" help:"Database of payments and intents. Default: the connection string's, else ${database}." var:"OUTBOXD_DATABASE"`
	Collection     string `placeholder:"NAME" help:"Collection of the intents. Default: ${collection}." var:"OUTBOXD_COLLECTION"`
	ConnectTimeout string `placeholder:"DURATION" help:"How long to wait for MongoDB at start. Default: ${connect_timeout}." var:"OUTBOXD_CONNECT_TIMEOUT"`

	Listen    string `placeholder:"ADDRESS" help:"Address of the API, which authenticates nobody. Default: ${listen}." var:"OUTBOX_API_LISTEN"`
	Drain     string `placeholder:"DURATION" help:"How long requests under way may take after a signal. Default: ${drain}." var:"OUTBOXD_DRAIN"`
	EmailFrom string `placeholder:"EMAIL" help:"Sender of receipts, which SendGrid must know. Default: ${email_from}." var:"OUTBOX_API_EMAIL_FROM"`
	SMSFrom   string `name:"sms-from" placeholder:"NUMBER" help:"Sender of SMS in E.164, which your Twilio account must own. Default: ${sms_from}, Twilio's test sender." var:"OUTBOX_API_SMS_FROM"`

	Rate         string `placeholder:"RATE" help:"Requests of one client in the long run, as N/s, N/m or N/h. Default: 50/s, and 100 at once."`
	ClientHeader string `placeholder:"NAME" help:"Header in which the proxy in front gives the client's address, such as X-Real-IP. Set it only where the proxy overwrites it. Default: none, the connection's address counts." var:"OUTBOX_API_CLIENT_HEADER"`
	Simulator    string `placeholder:"URL" help:"Control URL of the providers' simulators, such as http://127.0.0.1:8431. The shop at / then switches them off and on. Default: none." var:"OUTBOX_API_SIMULATOR"`

	SendgridWebhookKey string `placeholder:"KEY" help:"Public key of SendGrid's signed Event Webhook, which POST /webhooks/sendgrid then takes. Default: none, and no such route." var:"OUTBOX_API_SENDGRID_WEBHOOK_KEY"`
	PublicURL          string `name:"public-url" placeholder:"URL" help:"URL by which the providers reach this API, which Twilio's signature covers. Required with $$OUTBOX_API_TWILIO_AUTH_TOKEN." var:"OUTBOX_API_PUBLIC_URL"`

	LogLevel  string `placeholder:"LEVEL" help:"debug, info, warn or error. Default: ${log_level}." var:"OUTBOXD_LOG_LEVEL"`
	LogFormat string `placeholder:"FORMAT" help:"text or json. Default: text on a terminal, else json." var:"OUTBOXD_LOG_FORMAT"`

	Version bool `help:"Print the version and end."`
}

// Defaults of what is this program's own; the others are package config's.
const (
	defaultListen    = "127.0.0.1:8426"
	defaultEmailFrom = "receipts@example.com"
	defaultSMSFrom   = "+15005550006" // Twilio, "Test credentials": the sender that every test account may use
)

// settings are what the flags, the environment and the defaults come to.
type settings struct {
	mongo        config.Mongo
	logging      config.Logging
	listen       string
	drain        time.Duration
	senders      payments.Senders
	webhooks     httpapi.Webhooks
	rate         float64 // of one client, requests a second; 0: the default
	clientHeader string
	simulator    *url.URL // nil: none
}

// Variables of what is secret, which no flag may hold: a process list shows flags. Each has a variant _FILE.
const (
	variableStripe = "OUTBOX_API_STRIPE_WEBHOOK_SECRET" // two secrets are separated by a comma while one is rolled over
	variableTwilio = "OUTBOX_API_TWILIO_AUTH_TOKEN"
)

// load reads all settings. Its error lists every problem.
func load(src config.Source) (settings, error) {
	var s settings
	var own config.Problems
	bad := func(flag, variable, format string, args ...any) {
		own = append(own, config.Problem{Where: "flag --" + flag + " or variable " + variable, Text: fmt.Sprintf(format, args...)})
	}
	text := func(flag, variable, fallback string) string {
		if v, given := src.Flags[flag]; given {
			return v
		}
		return cmp.Or(src.Env(variable), fallback)
	}
	var mongoErr, loggingErr, rateErr error
	s.mongo, mongoErr = config.LoadMongo(src)
	s.logging, loggingErr = config.LoadLogging(src)
	s.rate, rateErr = config.LoadRate(src, "rate")
	if what := payments.Reserved(s.mongo.Collection); what != "" {
		bad("collection", "OUTBOXD_COLLECTION", "must not be %s, which holds %s", s.mongo.Collection, what)
	}
	s.listen = text("listen", "OUTBOX_API_LISTEN", defaultListen)
	if _, _, err := net.SplitHostPort(s.listen); err != nil {
		bad("listen", "OUTBOX_API_LISTEN", "%q is no address to listen on; write one like %s", s.listen, defaultListen)
	}
	var err error
	drain := text("drain", "OUTBOXD_DRAIN", config.DefaultDrain)
	if s.drain, err = time.ParseDuration(drain); err != nil || s.drain < 0 {
		bad("drain", "OUTBOXD_DRAIN", "%q is no duration; write one like 30s or 5m", drain)
	}
	s.senders = payments.Senders{
		Email: text("email-from", "OUTBOX_API_EMAIL_FROM", defaultEmailFrom),
		Phone: text("sms-from", "OUTBOX_API_SMS_FROM", defaultSMSFrom),
	}
	if err := s.senders.Validate(); err != nil {
		bad("email-from, --sms-from", "OUTBOX_API_EMAIL_FROM, OUTBOX_API_SMS_FROM", "%v", err)
	}
	if key := text("sendgrid-webhook-key", "OUTBOX_API_SENDGRID_WEBHOOK_KEY", ""); key != "" {
		if s.webhooks.SendGrid, err = webhook.ParseSendGridKey(key); err != nil {
			bad("sendgrid-webhook-key", "OUTBOX_API_SENDGRID_WEBHOOK_KEY", "%v", err)
		}
	}
	address := func(flag, variable string) *url.URL {
		value := text(flag, variable, "")
		if value == "" {
			return nil
		}
		u, err := url.Parse(value)
		if err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https" || u.RawQuery != "" || strings.Trim(u.Path, "/") != "" || u.User != nil {
			bad(flag, variable, "is no URL of a host alone, such as https://pay.example.org")
			return nil
		}
		return u
	}
	s.simulator = address("simulator", "OUTBOX_API_SIMULATOR")
	s.webhooks.PublicURL = address("public-url", "OUTBOX_API_PUBLIC_URL")
	if s.clientHeader = text("client-header", "OUTBOX_API_CLIENT_HEADER", ""); strings.ContainsFunc(s.clientHeader, func(c rune) bool { return c <= ' ' || c > '~' || c == ':' }) {
		bad("client-header", "OUTBOX_API_CLIENT_HEADER", "is no header's name")
	}
	stripe, stripeErr := config.LoadSecret(src, variableStripe)
	twilio, twilioErr := config.LoadSecret(src, variableTwilio)
	if stripe != "" {
		s.webhooks.Stripe = strings.Split(stripe.Reveal(), ",")
	}
	if s.webhooks.TwilioToken = twilio.Reveal(); twilio != "" && s.webhooks.PublicURL == nil {
		bad("public-url", "OUTBOX_API_PUBLIC_URL", "is required with $"+variableTwilio+": Twilio signs the URL")
	}
	all := []error{mongoErr, loggingErr, rateErr, stripeErr, twilioErr}
	if own != nil {
		all = append(all, own)
	}
	return s, config.Join(all...)
}

// logger returns the logger for w: text for a person, else JSON.
func logger(l config.Logging, w io.Writer) *slog.Logger {
	opts := &slog.HandlerOptions{Level: l.Level, ReplaceAttr: func(_ []string, a slog.Attr) slog.Attr {
		if a.Value.Kind() == slog.KindDuration { // JSON would have a number of nanoseconds
			return slog.String(a.Key, a.Value.Duration().Round(time.Microsecond).String())
		}
		return a
	}}
	if l.Format == config.LogText || l.Format == "" && term.IsTerminal(w) {
		return slog.New(slog.NewTextHandler(w, opts))
	}
	return slog.New(slog.NewJSONHandler(w, opts))
}

// version returns the module's version as the build recorded it.
func version() string {
	info, ok := debug.ReadBuildInfo()
	if !ok || info.Main.Version == "" {
		return "unknown"
	}
	return info.Main.Version
}
