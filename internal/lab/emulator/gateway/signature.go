package gateway

import (
	"crypto/hmac"
	"crypto/sha1"
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"hash/maphash"
	"maps"
	"net/url"
	"slices"
	"strings"
	"time"
)

// clockWindow is how far a request's time may be from the emulator's.
const clockWindow = 15 * time.Minute

const (
	algorithmACS3 = "ACS3-HMAC-SHA256"
	timestampForm = "2006-01-02T15:04:05Z"
)

// signature is what a request says to prove who sent it.
type signature struct {
	keyID string
	nonce string
	at    string
	given string
	text  string // what is signed
	sign  func(secret, text string) string
}

// authenticate checks a request's signature, time and nonce. A nonce counts as used
// only if the signature is right: otherwise anybody could use up a client's nonces.
func (g *Gateway) authenticate(c *Call) *Refusal {
	read := c.signatureRPC
	// A header for somebody else, such as a proxy, does not hide the older signature.
	if c.request.Header.Get("Authorization") != "" && c.Params.Get("Signature") == "" {
		read = c.signatureACS3
	}
	sig, refused := read()
	if refused != nil {
		return refused
	}
	now := g.now()
	at, err := time.Parse(timestampForm, sig.at)
	switch {
	case sig.keyID != g.keyID:
		return Refuse(codeKeyUnknown)
	case err != nil:
		return Refuse("InvalidTimeStamp.Format")
	case now.Sub(at).Abs() > clockWindow:
		return Refuse("InvalidTimeStamp.Expired")
	// The texts are compared: base64 and hex have several for the same bytes.
	case !hmac.Equal([]byte(sig.given), []byte(sig.sign(g.keySecret, sig.text))):
		refused = Refuse("SignatureDoesNotMatch")
		refused.Message += " server string to sign is:" + sig.text // phone and passcode included, as the service does
		return refused
	case !g.useNonce(sig.nonce, at.Add(clockWindow), now):
		return Refuse("SignatureNonceUsed")
	}
	return nil
}

// signatureACS3 reads the newer signature, which stands in headers.
func (c *Call) signatureACS3() (signature, *Refusal) {
	rest, ok := strings.CutPrefix(c.request.Header.Get("Authorization"), algorithmACS3+" Credential=")
	keyID, rest, ok1 := strings.Cut(rest, ",SignedHeaders=")
	list, given, ok2 := strings.Cut(rest, ",Signature=")
	if !ok || !ok1 || !ok2 {
		return signature{}, Refuse(codeSignatureBroken)
	}
	if refused := Missing(c.request.Header.Get, "x-acs-date", "x-acs-signature-nonce", "x-acs-content-sha256"); refused != nil {
		return signature{}, refused
	}
	signed := strings.Split(list, ";")
	if !c.signsEnough(signed) {
		return signature{}, Refuse(codeSignatureBroken)
	}
	// With temporary credentials the key's id stands in a header of its own, too.
	if second := c.request.Header.Get("X-Acs-Accesskey-Id"); second != "" && second != keyID {
		return signature{}, Refuse(codeKeyUnknown)
	}
	return signature{
		keyID: keyID, nonce: c.request.Header.Get("X-Acs-Signature-Nonce"), at: c.request.Header.Get("X-Acs-Date"), given: given,
		text: c.canonicalRequest(signed), sign: signACS3,
	}, nil
}

// signsEnough reports whether the signature covers the host and Aliyun's own headers.
// A header that it doesn't cover could be changed on the way.
func (c *Call) signsEnough(signed []string) bool {
	covered := slices.Contains(signed, "host")
	for name := range c.request.Header {
		name = strings.ToLower(name)
		covered = covered && (!strings.HasPrefix(name, "x-acs-") || slices.Contains(signed, name))
	}
	return covered
}

// canonicalRequest is the text that the newer signature covers.
func (c *Call) canonicalRequest(signed []string) string {
	lines := []string{c.request.Method, "/", canonicalQuery(c.query)}
	for _, name := range signed {
		value := strings.TrimSpace(strings.Join(c.request.Header.Values(name), ","))
		if name == "host" {
			value = c.request.Host // net/http keeps it apart from the other headers
		}
		lines = append(lines, name+":"+value)
	}
	return strings.Join(append(lines, "", strings.Join(signed, ";"), hexSHA256(c.body)), "\n")
}

func hexSHA256(data []byte) string { return fmt.Sprintf("%x", sha256.Sum256(data)) }

func signACS3(secret, text string) string {
	mac := hmac.New(sha256.New, []byte(secret))
	mac.Write([]byte(algorithmACS3 + "\n" + hexSHA256([]byte(text))))
	return fmt.Sprintf("%x", mac.Sum(nil))
}

// signatureRPC reads the older signature, which stands among the parameters. SignatureMethod may be left out.
func (c *Call) signatureRPC() (signature, *Refusal) {
	refused := Missing(c.Params.Get, "AccessKeyId", "Signature", "SignatureVersion", "SignatureNonce", "Timestamp")
	if refused != nil {
		return signature{}, refused
	}
	if method := c.Params.Get("SignatureMethod"); method != "" && method != "HMAC-SHA1" {
		return signature{}, Refuse("InvalidSignatureMethod")
	}
	if c.Params.Get("SignatureVersion") != "1.0" {
		return signature{}, Refuse(codeSignatureBroken)
	}
	return signature{
		keyID: c.Params.Get("AccessKeyId"), nonce: c.Params.Get("SignatureNonce"), at: c.Params.Get("Timestamp"),
		given: c.Params.Get("Signature"), text: stringRPC(c.request.Method, c.Params), sign: signText,
	}, nil
}

// stringRPC is the text that the older signature covers: the parameters but the signature itself.
func stringRPC(method string, params url.Values) string {
	unsigned := maps.Clone(params)
	unsigned.Del("Signature")
	return method + "&%2F&" + spaced(url.QueryEscape(canonicalQuery(unsigned)))
}

func signText(secret, text string) string {
	mac := hmac.New(sha1.New, []byte(secret+"&"))
	mac.Write([]byte(text))
	return base64.StdEncoding.EncodeToString(mac.Sum(nil))
}

// canonicalQuery is the parameters, sorted by name and escaped after RFC 3986.
func canonicalQuery(params url.Values) string { return spaced(params.Encode()) }

// spaced makes an escape of net/url one of RFC 3986, from which it differs only for the
// space: it escapes "*" and keeps "~".
func spaced(escaped string) string { return strings.ReplaceAll(escaped, "+", "%20") }

// useNonce reports whether a nonce is new, and remembers it until expiry has passed.
func (g *Gateway) useNonce(nonce string, expiry, now time.Time) bool {
	key := maphash.String(g.seed, nonce)
	g.mu.Lock()
	defer g.mu.Unlock()
	for minute, used := range g.used {
		if minute <= now.Unix()/60 {
			delete(g.used, minute)
		} else if _, twice := used[key]; twice {
			return false
		}
	}
	minute := expiry.Unix()/60 + 1 // rounded up: kept a little too long, never too short
	if g.used[minute] == nil {
		g.used[minute] = map[uint64]struct{}{}
	}
	g.used[minute][key] = struct{}{}
	return true
}
