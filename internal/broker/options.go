package broker

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nkeys"

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
	switch {
	case o.Creds != "":
		problems = append(problems, checkCreds(o.Creds))
		options = append(options, nats.UserCredentials(o.Creds))
	case o.NKeySeedFile != "":
		option, err := nats.NkeyOptionFromSeed(o.NKeySeedFile)
		problems = append(problems, wrong("nats.nkey_seed_file", err, "holds no user nkey seed"))
		options = append(options, option)
	case o.User != "":
		options = append(options, nats.UserInfo(o.User, o.Password.Reveal()))
	case !o.Token.IsZero():
		options = append(options, nats.Token(o.Token.Reveal()))
	}
	if o.CA != "" {
		problems = append(problems, checkCA(o.CA))
		options = append(options, nats.RootCAs(o.CA))
	}
	if o.Cert != "" {
		_, err := tls.LoadX509KeyPair(o.Cert, o.Key)
		problems = append(problems, wrong("nats.tls.cert and nats.tls.key", err, "are no matching pair of PEM files"))
		options = append(options, nats.ClientCert(o.Cert, o.Key))
	}
	return options, errors.Join(problems...)
}

func checkCreds(path string) error {
	data, err := os.ReadFile(path)
	if err != nil {
		return wrong("nats.creds", err, "")
	}
	defer clear(data)
	// A text without the frame of a .creds file is taken for a bare JWT, which is
	// three parts between dots.
	if token, err := nkeys.ParseDecoratedJWT(data); err != nil || strings.Count(token, ".") != 2 {
		return errors.New("nats.creds: the file holds no user JWT")
	}
	pair, err := nkeys.ParseDecoratedUserNKey(data)
	if err != nil {
		return errors.New("nats.creds: the file holds no user nkey seed")
	}
	pair.Wipe()
	return nil
}

func checkCA(path string) error {
	data, err := os.ReadFile(path)
	if err == nil && !x509.NewCertPool().AppendCertsFromPEM(data) {
		err = errors.New("no PEM")
	}
	return wrong("nats.tls.ca", err, "the file holds no PEM certificate")
}

// wrong names the setting of an error. A parser's words may quote the file, so only
// what the system says of a file is kept.
func wrong(key string, err error, what string) error {
	var path *fs.PathError
	switch {
	case err == nil:
		return nil
	case errors.As(err, &path):
		return fmt.Errorf("%s: %w", key, err)
	default:
		return fmt.Errorf("%s: %s", key, what)
	}
}
