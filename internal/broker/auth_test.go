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

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nkeys"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/passcode-worker/passcode-worker/internal/broker"
	"github.com/passcode-worker/passcode-worker/internal/config"
	"github.com/passcode-worker/passcode-worker/passcode"
	"github.com/passcode-worker/passcode-worker/test/brokertest"
)

func write(t *testing.T, name string, data []byte) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	require.NoError(t, os.WriteFile(path, data, 0o600))
	return path
}

func mustConnect(t *testing.T, n config.NATS) {
	t.Helper()
	nc, _ := connectedTo(t, n, quiet)
	require.NoError(t, broker.CheckServer(nc))
}

func TestUserTokenSeedAndCreds(t *testing.T) {
	t.Parallel()
	operator := brokertest.NewOperator(t)
	user, public := brokertest.KeyPair(t, nkeys.CreateUser)
	seed, err := user.Seed()
	require.NoError(t, err)
	for name, test := range map[string]struct {
		server func(*server.Options)
		client config.NATS
	}{
		"user and password": {
			func(o *server.Options) { o.Username, o.Password = "worker", "p@ss/word" },
			config.NATS{User: "worker", Password: passcode.NewSecret("p@ss/word")},
		},
		"token": {func(o *server.Options) { o.Authorization = "letmein" }, config.NATS{Token: passcode.NewSecret("letmein")}},
		"seed": {
			func(o *server.Options) { o.Nkeys = []*server.NkeyUser{{Nkey: public}} },
			config.NATS{NkeySeedFile: write(t, "seed.nk", seed)},
		},
		"creds": {operator.Options, config.NATS{Creds: write(t, "user.creds", operator.Creds(t, 0))}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			test.client.URL = at(brokertest.Server(t, test.server).URL()).URL
			mustConnect(t, test.client)
		})
	}
}

func TestTLSWithAClientCertificate(t *testing.T) {
	t.Parallel()
	cert, key := selfSigned(t)
	pair, err := tls.X509KeyPair(cert, key)
	require.NoError(t, err)
	pool := x509.NewCertPool()
	require.True(t, pool.AppendCertsFromPEM(cert))
	srv := brokertest.Server(t, func(o *server.Options) {
		o.TLS, o.TLSVerify, o.TLSTimeout = true, true, 20
		o.TLSConfig = &tls.Config{
			Certificates: []tls.Certificate{pair}, ClientCAs: pool, MinVersion: tls.VersionTLS12,
			ClientAuth: tls.RequireAndVerifyClientCert,
		}
	})
	file := write(t, "cert.pem", cert)
	mustConnect(t, config.NATS{URL: config.NewServerURLs(srv.URL()), TLS: config.TLS{CA: file, Cert: file, Key: write(t, "key.pem", key)}})

	stranger, _ := selfSigned(t)
	out, log := newLog()
	nc := connect(t, config.NATS{URL: config.NewServerURLs(srv.URL()), TLS: config.TLS{CA: write(t, "other.pem", stranger)}}, log)
	require.False(t, nc.IsConnected())
	eventually(t, func() bool { return out.String() != "" }, "logged")
	require.Contains(t, out.String(), "certificate signed by unknown authority")
}

// selfSigned makes a certificate that is its own authority, for both sides.
func selfSigned(t *testing.T) (certPEM, keyPEM []byte) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "test"},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
		IsCA:        true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign | x509.KeyUsageDigitalSignature,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	require.NoError(t, err)
	keyDER, err := x509.MarshalECPrivateKey(key)
	require.NoError(t, err)
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), pem.EncodeToMemory(&pem.Block{Type: "EC PRIVATE KEY", Bytes: keyDER})
}

func TestAWrongFileIsAnImmediateErrorThatNamesItsKey(t *testing.T) {
	t.Parallel()
	account, err := nkeys.CreateAccount()
	require.NoError(t, err)
	accountSeed, err := account.Seed()
	require.NoError(t, err)
	junk := write(t, "junk", []byte("s3cret-words"))

	for name, test := range map[string]struct {
		options config.NATS
		want    string
	}{
		"creds missing":        {config.NATS{Creds: "/nonexistent.creds"}, "nats.creds: open /nonexistent.creds"},
		"creds are junk":       {config.NATS{Creds: junk}, "nats.creds: the file holds no user JWT"},
		"seed file missing":    {config.NATS{NkeySeedFile: "/nonexistent.nk"}, "nats.nkey_seed_file: "},
		"seed file is junk":    {config.NATS{NkeySeedFile: junk}, "nats.nkey_seed_file: holds no user nkey seed"},
		"seed of an account":   {config.NATS{NkeySeedFile: write(t, "a.nk", accountSeed)}, "nats.nkey_seed_file: "},
		"CA missing":           {config.NATS{TLS: config.TLS{CA: "/nonexistent.pem"}}, "nats.tls.ca: open /nonexistent.pem"},
		"CA is junk":           {config.NATS{TLS: config.TLS{CA: junk}}, "nats.tls.ca: the file holds no PEM"},
		"cert and key are bad": {config.NATS{TLS: config.TLS{Cert: junk, Key: junk}}, "nats.tls.cert and nats.tls.key: are no matching"},
		"cert missing":         {config.NATS{TLS: config.TLS{Cert: "/nonexistent.pem", Key: junk}}, "open /nonexistent.pem"},
		"all at once":          {config.NATS{Creds: "/nonexistent", TLS: config.TLS{CA: "/gone"}}, "nats.creds: open /nonexistent: no such file or directory\nnats.tls.ca: open /gone"},
	} {
		test.options.URL = at("nats://127.0.0.1:1").URL
		_, err := broker.Connect(t.Context(), test.options, "test", broker.WorkerInbox, quiet)
		require.ErrorContains(t, err, test.want, name)
		assert.NotContains(t, err.Error(), "s3cret", name)
	}
}
