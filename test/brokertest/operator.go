package brokertest

import (
	"testing"
	"time"

	"github.com/nats-io/jwt/v2"
	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nkeys"
	"github.com/stretchr/testify/require"
)

// Operator is a broker's whose users have credentials.
type Operator struct {
	account  nkeys.KeyPair
	claims   *jwt.OperatorClaims
	accounts *server.MemAccResolver
	systemID string
}

// NewOperator makes an operator with an account that may use JetStream.
func NewOperator(t testing.TB) *Operator {
	t.Helper()
	o := &Operator{accounts: &server.MemAccResolver{}}
	operator, id := KeyPair(t, nkeys.CreateOperator)
	o.claims = jwt.NewOperatorClaims(id)
	_, err := o.claims.Encode(operator)
	require.NoError(t, err)
	store := func(account *jwt.AccountClaims) {
		token, err := account.Encode(operator)
		require.NoError(t, err)
		require.NoError(t, o.accounts.Store(account.Subject, token))
	}
	var accountID string
	o.account, accountID = KeyPair(t, nkeys.CreateAccount)
	account := jwt.NewAccountClaims(accountID)
	account.Limits.JetStreamLimits = jwt.JetStreamLimits{
		MemoryStorage: jwt.NoLimit, DiskStorage: jwt.NoLimit, Streams: jwt.NoLimit, Consumer: jwt.NoLimit,
	}
	store(account)
	_, o.systemID = KeyPair(t, nkeys.CreateAccount)
	store(jwt.NewAccountClaims(o.systemID))
	return o
}

// Options has a server be of this operator.
func (o *Operator) Options(s *server.Options) {
	s.TrustedOperators = []*jwt.OperatorClaims{o.claims}
	s.AccountResolver, s.SystemAccount = o.accounts, o.systemID
}

// Creds is the credentials file of a new user, which expires after that life; 0 is
// never.
func (o *Operator) Creds(t testing.TB, life time.Duration) []byte {
	t.Helper()
	pair, public := KeyPair(t, nkeys.CreateUser)
	user := jwt.NewUserClaims(public)
	if life > 0 {
		user.Expires = time.Now().Add(life).Unix()
	}
	token, err := user.Encode(o.account)
	require.NoError(t, err)
	seed, err := pair.Seed()
	require.NoError(t, err)
	text, err := jwt.FormatUserConfig(token, seed)
	require.NoError(t, err)
	return text
}

// KeyPair makes a key of one of the kinds of nkeys, and returns its public half too.
func KeyPair(t testing.TB, create func() (nkeys.KeyPair, error)) (nkeys.KeyPair, string) {
	t.Helper()
	pair, err := create()
	require.NoError(t, err)
	public, err := pair.PublicKey()
	require.NoError(t, err)
	return pair, public
}
