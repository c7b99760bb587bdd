package broker

import (
	"errors"
	"fmt"
	"io/fs"

	"github.com/nats-io/nats.go"

	"github.com/passcode-worker/passcode-worker/internal/config"
)

// natsOptions reads every file once, so that a mistake shows at the start. The
// client reads them again each time it connects and so follows their renewal.
func natsOptions(n config.NATS) ([]nats.Option, error) {
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
	case n.Creds != "":
		add("nats.creds", nats.UserCredentials(n.Creds), "the file holds no user JWT with its seed")
	case n.NkeySeedFile != "":
		option, err := nats.NkeyOptionFromSeed(n.NkeySeedFile)
		options, problems = append(options, option), append(problems, wrong("nats.nkey_seed_file", err, "holds no user nkey seed"))
	case n.User != "":
		options = append(options, nats.UserInfo(n.User, n.Password.Reveal()))
	case !n.Token.IsZero():
		options = append(options, nats.Token(n.Token.Reveal()))
	}
	if n.TLS.CA != "" {
		add("nats.tls.ca", nats.RootCAs(n.TLS.CA), "the file holds no PEM certificate")
	}
	if n.TLS.Cert != "" {
		add("nats.tls.cert and nats.tls.key", nats.ClientCert(n.TLS.Cert, n.TLS.Key), "are no matching pair of PEM files")
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
