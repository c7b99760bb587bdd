// Package deployed runs, inside a test, a NATS server from the very files of
// deploy/nats, with its accounts, users and rights.
package deployed

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"

	"github.com/passcode-worker/passcode-worker/test/brokertest"
	"github.com/passcode-worker/passcode-worker/test/harness"
)

// The users of the accounts file.
const (
	Admin    = "admin"
	Worker   = "worker"
	Operator = "operator"
	Console  = "console"
	Producer = "producer"
)

// onlooker may do everything in the account of the worker. It is added to the
// users of the file, for tests to see what the others did.
const onlooker = "onlooker"

// Password is every user's, and hash what the server is told of it.
const (
	Password = "a-password-of-the-tests"
	hash     = "$2a$04$fcS0SvY0gMfsa93Xi4bBG.Z7enR0AhC.HBOWxHvwDTEybPczxT2j."
)

// Broker is the server.
type Broker struct{ *brokertest.Handle }

// Start runs a server until the test ends. The functions may change its options,
// as those of [brokertest.Server].
func Start(t testing.TB, change ...func(*server.Options)) *Broker {
	t.Helper()
	options, err := Options()
	if err != nil {
		t.Fatalf("deployed: %v", err)
	}
	for _, account := range options.Accounts {
		if account.GetName() == "PASSCODE" {
			options.Users = append(options.Users, &server.User{Username: onlooker, Password: hash, Account: account})
		}
	}
	return &Broker{brokertest.Server(t, func(o *server.Options) {
		options.Host, options.StoreDir = o.Host, o.StoreDir
		options.NoLog, options.NoSigs = o.NoLog, o.NoSigs
		options.HTTPPort = 0 // its port is fixed
		*o = *options
		for _, f := range change {
			f(o)
		}
	})}
}

// Options are what the server makes of the files.
func Options() (*server.Options, error) {
	root, err := harness.Root()
	if err != nil {
		return nil, err
	}
	if err := setPasswords(); err != nil {
		return nil, err
	}
	return server.ProcessConfigFile(filepath.Join(root, "deploy", "nats", "nats.conf"))
}

// setPasswords puts the passwords where the files look for them.
var setPasswords = sync.OnceValue(func() error {
	for _, user := range []string{Admin, Worker, Operator, Console, Producer} {
		if err := os.Setenv("NATS_"+strings.ToUpper(user)+"_PASSWORD", hash); err != nil {
			return err
		}
	}
	return nil
})

// As is the URL with a user's name and password in it.
func (b *Broker) As(user string) string {
	return strings.Replace(b.URL(), "://", fmt.Sprintf("://%s:%s@", user, Password), 1)
}

// ConnectAs connects as a user of the file.
func (b *Broker) ConnectAs(user string, options ...nats.Option) *nats.Conn {
	nc, _ := b.Connect(append(options, nats.UserInfo(user, Password))...)
	return nc
}

// LookOn connects as one who may do everything in the worker's account.
func (b *Broker) LookOn() *nats.Conn { return b.ConnectAs(onlooker) }

// Rights are a user's, as the server reads them from the file.
func Rights(t testing.TB, user string) *server.Permissions {
	t.Helper()
	options, err := Options()
	if err != nil {
		t.Fatalf("deployed: %v", err)
	}
	for _, u := range options.Users {
		if u.Username == user && u.Permissions != nil {
			return u.Permissions
		}
	}
	t.Fatalf("deployed: no rights of user %s in the file", user)
	return nil
}
