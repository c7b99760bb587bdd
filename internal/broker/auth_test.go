package broker_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/nats-io/jwt/v2"
	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nkeys"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/passcode-worker/passcode-worker/internal/broker"
	"github.com/passcode-worker/passcode-worker/passcode"
	"github.com/passcode-worker/passcode-worker/test/brokertest"
)

func write(t *testing.T, name string, data []byte) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	require.NoError(t, os.WriteFile(path, data, 0o600))
	return path
}

func mustConnect(t *testing.T, o broker.Options) {
	t.Helper()
	nc := connect(t, o, nil)
	require.NoError(t, broker.WaitConnected(within(t, patience), nc))
	require.NoError(t, broker.CheckServer(nc))
}

func TestUserAndPassword(t *testing.T) {
	t.Parallel()
	srv := brokertest.Server(t, func(o *server.Options) { o.Username, o.Password = "worker", "p@ss/word" })
	mustConnect(t, broker.Options{URL: srv.URL(), User: "worker", Password: passcode.NewSecret("p@ss/word")})
}

func TestToken(t *testing.T) {
	t.Parallel()
	srv := brokertest.Server(t, func(o *server.Options) { o.Authorization = "letmein" })
	mustConnect(t, broker.Options{URL: srv.URL(), Token: passcode.NewSecret("letmein")})
}

func TestNKeySeedFile(t *testing.T) {
	t.Parallel()
	user, err := nkeys.CreateUser()
	require.NoError(t, err)
	public, err := user.PublicKey()
	require.NoError(t, err)
	seed, err := user.Seed()
	require.NoError(t, err)
	srv := brokertest.Server(t, func(o *server.Options) { o.Nkeys = []*server.NkeyUser{{Nkey: public}} })
	mustConnect(t, broker.Options{URL: srv.URL(), NKeySeedFile: write(t, "seed.nk", seed)})
}

func TestCredsFile(t *testing.T) {
	t.Parallel()
	operator, operatorPublic := keyPair(t, nkeys.CreateOperator)
	account, accountPublic := keyPair(t, nkeys.CreateAccount)
	user, userPublic := keyPair(t, nkeys.CreateUser)

	operatorJWT, err := jwt.NewOperatorClaims(operatorPublic).Encode(operator)
	require.NoError(t, err)
	accountJWT, err := jwt.NewAccountClaims(accountPublic).Encode(operator)
	require.NoError(t, err)
	userJWT, err := jwt.NewUserClaims(userPublic).Encode(account)
	require.NoError(t, err)
	seed, err := user.Seed()
	require.NoError(t, err)
	creds, err := jwt.FormatUserConfig(userJWT, seed)
	require.NoError(t, err)

	srv := brokertest.Server(t, func(o *server.Options) {
		claims, err := jwt.DecodeOperatorClaims(operatorJWT)
		require.NoError(t, err)
		accounts := &server.MemAccResolver{}
		require.NoError(t, accounts.Store(accountPublic, accountJWT))
		o.TrustedOperators = []*jwt.OperatorClaims{claims}
		o.AccountResolver = accounts
		o.JetStream = false
	})
	mustConnect(t, broker.Options{URL: srv.URL(), Creds: write(t, "user.creds", creds)})
}

func keyPair(t *testing.T, create func() (nkeys.KeyPair, error)) (nkeys.KeyPair, string) {
	t.Helper()
	pair, err := create()
	require.NoError(t, err)
	public, err := pair.PublicKey()
	require.NoError(t, err)
	return pair, public
}

func TestTLSWithAClientCertificate(t *testing.T) {
	t.Parallel()
	authority := newAuthority(t)
	serverCert, serverKey := authority.issue(t, "server")
	clientCert, clientKey := authority.issue(t, "client")
	pair, err := tls.X509KeyPair(serverCert, serverKey)
	require.NoError(t, err)
	pool := x509.NewCertPool()
	pool.AddCert(authority.cert)

	srv := brokertest.Server(t, func(o *server.Options) {
		o.TLS, o.TLSVerify, o.TLSTimeout = true, true, 20
		o.TLSConfig = &tls.Config{
			Certificates: []tls.Certificate{pair}, ClientCAs: pool, MinVersion: tls.VersionTLS12,
			ClientAuth: tls.RequireAndVerifyClientCert,
		}
	})
	ca := write(t, "ca.pem", pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: authority.cert.Raw}))
	mustConnect(t, broker.Options{
		URL: srv.URL(), CA: ca, Cert: write(t, "client.pem", clientCert), Key: write(t, "client.key", clientKey),
	})

	stranger := newAuthority(t)
	other := write(t, "other.pem", pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: stranger.cert.Raw}))
	out, log := newLog()
	nc := connect(t, broker.Options{URL: srv.URL(), CA: other}, log)
	require.False(t, nc.IsConnected())
	eventually(t, func() bool { return out.String() != "" }, "logged")
	require.Contains(t, out.String(), "certificate signed by unknown authority")
}

// authority is a certificate authority made for one test.
type authority struct {
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
}

func newAuthority(t *testing.T) authority {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "test authority"},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	require.NoError(t, err)
	cert, err := x509.ParseCertificate(der)
	require.NoError(t, err)
	return authority{cert, key}
}

func (a authority) issue(t *testing.T, name string) (certPEM, keyPEM []byte) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	der, err := x509.CreateCertificate(rand.Reader, &x509.Certificate{
		SerialNumber: big.NewInt(2), Subject: pkix.Name{CommonName: name},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
		KeyUsage:    x509.KeyUsageDigitalSignature,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
	}, a.cert, &key.PublicKey, a.key)
	require.NoError(t, err)
	keyDER, err := x509.MarshalECPrivateKey(key)
	require.NoError(t, err)
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}),
		pem.EncodeToMemory(&pem.Block{Type: "EC PRIVATE KEY", Bytes: keyDER})
}

func TestAWrongFileIsAnImmediateErrorThatNamesItsKey(t *testing.T) {
	t.Parallel()
	const url = "nats://127.0.0.1:1"
	account, err := nkeys.CreateAccount()
	require.NoError(t, err)
	accountSeed, err := account.Seed()
	require.NoError(t, err)
	junk := write(t, "junk", []byte("s3cret-words"))

	for name, test := range map[string]struct {
		options broker.Options
		want    string
	}{
		"creds missing":        {broker.Options{URL: url, Creds: "/nonexistent.creds"}, "nats.creds: open /nonexistent.creds"},
		"creds are junk":       {broker.Options{URL: url, Creds: junk}, "nats.creds: the file holds no user JWT"},
		"seed file missing":    {broker.Options{URL: url, NKeySeedFile: "/nonexistent.nk"}, "nats.nkey_seed_file: "},
		"seed file is junk":    {broker.Options{URL: url, NKeySeedFile: junk}, "nats.nkey_seed_file: holds no user nkey seed"},
		"seed of an account":   {broker.Options{URL: url, NKeySeedFile: write(t, "a.nk", accountSeed)}, "nats.nkey_seed_file: "},
		"CA missing":           {broker.Options{URL: url, CA: "/nonexistent.pem"}, "nats.tls.ca: open /nonexistent.pem"},
		"CA is junk":           {broker.Options{URL: url, CA: junk}, "nats.tls.ca: the file holds no PEM"},
		"cert and key are bad": {broker.Options{URL: url, Cert: junk, Key: junk}, "nats.tls.cert and nats.tls.key: are no matching"},
		"cert missing":         {broker.Options{URL: url, Cert: "/nonexistent.pem", Key: junk}, "open /nonexistent.pem"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			_, err := broker.Connect(t.Context(), test.options, nil)
			require.ErrorContains(t, err, test.want)
			assert.NotContains(t, err.Error(), "s3cret")
		})
	}
}

func TestAllWrongFilesAreReportedAtOnce(t *testing.T) {
	t.Parallel()
	_, err := broker.Connect(t.Context(), broker.Options{URL: "nats://127.0.0.1:1", Creds: "/nonexistent", CA: "/nonexistent"}, nil)
	for _, key := range []string{"nats.creds", "nats.tls.ca"} {
		require.ErrorContains(t, err, key)
	}
}
