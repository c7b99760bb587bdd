package broker

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net/url"
	"os"
	"slices"
	"strings"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nkeys"

	"github.com/passcode-worker/passcode-worker/passcode"
)

// Options say how to reach the broker. Each field names its settings key.
type Options struct {
	// URL is one address or several, separated by commas (nats.url). Schemes are
	// nats, tls, ws and wss; without one it is nats.
	URL string
	// Name is how the broker's own listings call this connection.
	Name string
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

// servers is the list of addresses as the client reads it.
func (o Options) servers() string { return strings.Join(o.addresses(), ",") }

func (o Options) addresses() []string {
	var list []string
	for address := range strings.SplitSeq(o.URL, ",") {
		if address = strings.TrimSpace(address); address != "" {
			list = append(list, address)
		}
	}
	return list
}

// natsOptions checks the settings, all of them, and reads every file once, so
// that a mistake shows at the start and not in a retry that nobody sees. The
// client reads the files again each time it connects and so follows their
// renewal.
func (o Options) natsOptions() ([]nats.Option, error) {
	var options []nats.Option
	problems := []error{o.checkURL(), o.checkOneWayIn()}

	switch {
	case o.Creds != "":
		problems = append(problems, checkCreds(o.Creds))
		options = append(options, nats.UserCredentials(o.Creds))
	case o.NKeySeedFile != "":
		option, err := nats.NkeyOptionFromSeed(o.NKeySeedFile)
		if err != nil {
			problems = append(problems, fmt.Errorf("nats.nkey_seed_file: %w", fileProblem(err, "holds no user nkey seed")))
		} else {
			options = append(options, option)
		}
	case o.User != "":
		options = append(options, nats.UserInfo(o.User, o.Password.Reveal()))
	case !o.Token.IsZero():
		options = append(options, nats.Token(o.Token.Reveal()))
	}

	if o.CA != "" {
		problems = append(problems, checkCA(o.CA))
		options = append(options, nats.RootCAs(o.CA))
	}
	switch {
	case o.Cert != "" && o.Key != "":
		if _, err := tls.LoadX509KeyPair(o.Cert, o.Key); err != nil {
			problems = append(problems, fmt.Errorf("nats.tls.cert and nats.tls.key: %w", fileProblem(err, "are no matching pair of PEM files")))
		}
		options = append(options, nats.ClientCert(o.Cert, o.Key))
	case o.Cert != "":
		problems = append(problems, errors.New("nats.tls.key: must be set where nats.tls.cert is"))
	case o.Key != "":
		problems = append(problems, errors.New("nats.tls.cert: must be set where nats.tls.key is"))
	}
	return options, errors.Join(problems...)
}

// checkURL says which entry is wrong and shows none of it: a password with a
// character that should have been percent-encoded lands anywhere in what the
// parser says.
func (o Options) checkURL() error {
	list := o.addresses()
	if len(list) == 0 {
		return errors.New("nats.url: must name at least one server, such as nats://127.0.0.1:4222")
	}
	for i, address := range list {
		if !strings.Contains(address, "://") {
			address = "nats://" + address
		}
		u, err := url.Parse(address)
		known := err == nil && slices.Contains([]string{"nats", "tls", "ws", "wss"}, u.Scheme)
		if !known || u.Hostname() == "" {
			return fmt.Errorf("nats.url: entry %d must be scheme://host:port with scheme nats, tls, ws or wss; "+
				"special characters of a user or password must be percent-encoded", i+1)
		}
	}
	return nil
}

func (o Options) checkOneWayIn() error {
	var set []string
	for _, way := range []struct {
		key string
		set bool
	}{
		{"nats.creds", o.Creds != ""},
		{"nats.nkey_seed_file", o.NKeySeedFile != ""},
		{"nats.user", o.User != ""},
		{"nats.token", !o.Token.IsZero()},
	} {
		if way.set {
			set = append(set, way.key)
		}
	}
	switch {
	case len(set) > 1:
		return fmt.Errorf("%s: only one of them may be set", strings.Join(set, ", "))
	case o.User == "" && !o.Password.IsZero():
		return errors.New("nats.password: needs nats.user")
	}
	return nil
}

func checkCreds(path string) error {
	const key = "nats.creds: %w"
	data, err := os.ReadFile(path)
	if err != nil {
		return fmt.Errorf(key, fileProblem(err, ""))
	}
	defer wipe(data)
	// A text without the frame of a .creds file is taken for a bare JWT, which is
	// three parts between dots.
	if token, err := nkeys.ParseDecoratedJWT(data); err != nil || strings.Count(token, ".") != 2 {
		return fmt.Errorf(key, errors.New("the file holds no user JWT"))
	}
	pair, err := nkeys.ParseDecoratedUserNKey(data)
	if err != nil {
		return fmt.Errorf(key, errors.New("the file holds no user nkey seed"))
	}
	pair.Wipe()
	return nil
}

func checkCA(path string) error {
	data, err := os.ReadFile(path)
	if err != nil {
		return fmt.Errorf("nats.tls.ca: %w", fileProblem(err, ""))
	}
	if !x509.NewCertPool().AppendCertsFromPEM(data) {
		return errors.New("nats.tls.ca: the file holds no PEM certificate")
	}
	return nil
}

// fileProblem keeps what the system says of a file that can't be read. Of one
// that can be read and is wrong it gives the mend alone, because a parser's
// words may quote the file.
func fileProblem(err error, wrong string) error {
	var path *os.PathError
	if errors.As(err, &path) || wrong == "" {
		return err
	}
	return errors.New(wrong)
}

func wipe(data []byte) {
	for i := range data {
		data[i] = 'x'
	}
}
