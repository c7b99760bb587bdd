package broker

import (
	"errors"
	"fmt"
	"io/fs"

	"github.com/nats-io/nats.go"

	"github.com/passcode-worker/passcode-worker/passcode"
)

// Options say how to reach the broker. Each field names its settings key; package
// config has checked the settings by themselves.
type Options struct {
	// URL is one address or several, separated by commas (nats.url). Schemes are
	// nats, tls, ws and wss; without one it is nats.
	URL  string
	Name string // of the connection in the broker's own listings
	// Inbox is the prefix of the subjects to which the broker sends its answers,
	// [WorkerInbox] or [CommandInbox]; without one it is the client's own.
	Inbox string

	// At most one of the four ways to authenticate is used.

	Creds        string // path of a .creds file (nats.creds)
	User         string // with Password (nats.user, nats.password)
	Password     passcode.Secret
	Token        passcode.Secret // nats.token
	NKeySeedFile string          // path of a file that holds an nkey seed (nats.nkey_seed_file)

	// TLS files (nats.tls.ca, nats.tls.cert, nats.tls.key). With any of them set
	// the connection is encrypted whatever the scheme says.
	CA, Cert, Key string
}

// natsOptions reads every file once, so that a mistake shows at the start. The
// client reads them again each time it connects and so follows their renewal.
func (o Options) natsOptions() ([]nats.Option, error) {
	var options []nats.Option
	var problems []error
	add := func(key string, option nats.Option, what string) {
		var set nats.Options
		err := option(&set) // which reads the files of TLS
		if err == nil && set.UserJWT != nil {
			_, err = set.UserJWT()
			if err == nil {
				_, err = set.SignatureCB(nil)
			}
		}
		options, problems = append(options, option), append(problems, wrong(key, err, what))
	}
	switch {
	case o.Creds != "":
		add("nats.creds", nats.UserCredentials(o.Creds), "the file holds no user JWT with its seed")
	case o.NKeySeedFile != "":
		option, err := nats.NkeyOptionFromSeed(o.NKeySeedFile)
		options, problems = append(options, option), append(problems, wrong("nats.nkey_seed_file", err, "holds no user nkey seed"))
	case o.User != "":
		options = append(options, nats.UserInfo(o.User, o.Password.Reveal()))
	case !o.Token.IsZero():
		options = append(options, nats.Token(o.Token.Reveal()))
	}
	if o.CA != "" {
		add("nats.tls.ca", nats.RootCAs(o.CA), "the file holds no PEM certificate")
	}
	if o.Cert != "" {
		add("nats.tls.cert and nats.tls.key", nats.ClientCert(o.Cert, o.Key), "are no matching pair of PEM files")
	}
	return options, errors.Join(problems...)
}

// wrong names the setting of an error. A parser's words may quote the file, so only
// what the system says of a file is kept.
func wrong(key string, err error, what string) error {
	var path *fs.PathError
	switch {
	case err == nil:
		return nil
	case errors.As(err, &path):
		return fmt.Errorf("%s: %w", key, path)
	default:
		return fmt.Errorf("%s: %s", key, what)
	}
}
