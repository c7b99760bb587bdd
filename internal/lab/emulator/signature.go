package emulator

import (
	"crypto/hmac"
	"crypto/sha1"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"maps"
	"slices"
	"strings"
	"time"
)

// clockWindow is how far a request's time may be from the emulator's.
const clockWindow = 15 * time.Minute

const (
	algorithmACS3  = "ACS3-HMAC-SHA256"
	timestampForm  = "2006-01-02T15:04:05Z"
	hexDigitsUpper = "0123456789ABCDEF"
)

// signature is what a request says to prove who sent it.
type signature struct {
	keyID string
	nonce string
	at    string
	given string
	// expected computes what the given signature should be.
	expected func(secret string) string
}

// authenticate checks a request's signature, its clock and its nonce. A nonce
// counts as used only once the signature proves right: otherwise anybody could
// use up a client's nonces.
func (e *Emulator) authenticate(c *call, now time.Time) *refusal {
	sig, refused := c.signature()
	if refused != nil {
		return refused
	}
	at, err := time.Parse(timestampForm, sig.at)
	switch {
	case !hmac.Equal([]byte(sig.keyID), []byte(e.opts.AccessKeyID)):
		return refuse(codeKeyUnknown)
	case err != nil:
		return refuse(codeTimeFormat)
	case now.Sub(at).Abs() > clockWindow:
		return refuse(codeTimeExpired)
	// The texts are compared, not the bytes they stand for, since base64 and hex
	// have several texts for the same bytes.
	case !hmac.Equal([]byte(sig.given), []byte(sig.expected(e.opts.AccessKeySecret))):
		// The service appends the string it signed. It holds phone and passcode,
		// so that here it stays away.
		return refuse(codeSignatureWrong)
	case !e.nonces.use(sig.nonce, at.Add(clockWindow), now):
		return refuse(codeNonceUsed)
	}
	return nil
}

func (c *call) signature() (signature, *refusal) {
	// A header for somebody else, a proxy say, does not hide the older signature.
	if authorization := c.header.Get("Authorization"); authorization != "" && c.params["Signature"] == "" {
		return c.signatureACS3(authorization)
	}
	return c.signatureRPC()
}

// signatureACS3 reads the newer signature, which stands in headers.
func (c *call) signatureACS3(authorization string) (signature, *refusal) {
	rest, ok := strings.CutPrefix(authorization, algorithmACS3+" Credential=")
	keyID, rest, ok1 := strings.Cut(rest, ",SignedHeaders=")
	list, given, ok2 := strings.Cut(rest, ",Signature=")
	if !ok || !ok1 || !ok2 {
		return signature{}, refuse(codeSignatureBroken)
	}
	for _, name := range []string{"x-acs-date", "x-acs-signature-nonce", "x-acs-content-sha256"} {
		if c.header.Get(name) == "" {
			return signature{}, missing(name)
		}
	}
	signed := strings.Split(list, ";")
	if !c.signsEnough(signed) {
		return signature{}, refuse(codeSignatureBroken)
	}
	// With temporary credentials the key's id stands in a header of its own, too.
	if second := c.header.Get("X-Acs-Accesskey-Id"); second != "" && second != keyID {
		return signature{}, refuse(codeKeyUnknown)
	}
	return signature{
		keyID: keyID,
		nonce: c.header.Get("X-Acs-Signature-Nonce"),
		at:    c.header.Get("X-Acs-Date"),
		given: given,
		expected: func(secret string) string {
			return signACS3(secret, c.canonicalRequest(signed, list))
		},
	}, nil
}

// signsEnough reports whether the signature covers the host and every header of
// Aliyun's own: one left out could be changed on the way.
func (c *call) signsEnough(signed []string) bool {
	if !slices.Contains(signed, "host") {
		return false
	}
	for name := range c.header {
		name = strings.ToLower(name)
		if strings.HasPrefix(name, "x-acs-") && !slices.Contains(signed, name) {
			return false
		}
	}
	return true
}

// canonicalRequest is the text that the newer signature covers.
func (c *call) canonicalRequest(signed []string, list string) string {
	var b strings.Builder
	b.WriteString(c.method)
	b.WriteString("\n/\n")
	writeQuery(&b, c.query)
	b.WriteByte('\n')
	for _, name := range signed {
		b.WriteString(name)
		b.WriteByte(':')
		b.WriteString(c.signedHeader(name))
		b.WriteByte('\n')
	}
	b.WriteByte('\n')
	b.WriteString(list)
	b.WriteByte('\n')
	sum := sha256.Sum256(c.body)
	b.WriteString(hex.EncodeToString(sum[:]))
	return b.String()
}

func (c *call) signedHeader(name string) string {
	if name == "host" {
		return c.host // net/http keeps it apart from the other headers
	}
	values := slices.Clone(c.header.Values(name))
	for i := range values {
		values[i] = strings.TrimSpace(values[i])
	}
	return strings.Join(values, ",")
}

func signACS3(secret, canonical string) string {
	sum := sha256.Sum256([]byte(canonical))
	mac := hmac.New(sha256.New, []byte(secret))
	mac.Write([]byte(algorithmACS3 + "\n" + hex.EncodeToString(sum[:])))
	return hex.EncodeToString(mac.Sum(nil))
}

// signatureRPC reads the older signature, which stands among the parameters.
func (c *call) signatureRPC() (signature, *refusal) {
	for _, name := range []string{
		"AccessKeyId", "Signature", "SignatureMethod", "SignatureVersion", "SignatureNonce", "Timestamp",
	} {
		if c.params[name] == "" {
			return signature{}, missing(name)
		}
	}
	if c.params["SignatureMethod"] != "HMAC-SHA1" || c.params["SignatureVersion"] != "1.0" {
		return signature{}, refuse(codeSignatureBroken)
	}
	return signature{
		keyID:    c.params["AccessKeyId"],
		nonce:    c.params["SignatureNonce"],
		at:       c.params["Timestamp"],
		given:    c.params["Signature"],
		expected: func(secret string) string { return signRPC(secret, c.method, c.params) },
	}, nil
}

// signRPC signs parameters in the older way; one named Signature is left out.
func signRPC(secret, method string, params map[string]string) string {
	unsigned := maps.Clone(params)
	delete(unsigned, "Signature")
	var query, text strings.Builder
	writeQuery(&query, unsigned)
	text.WriteString(method)
	text.WriteString("&%2F&")
	writeEscaped(&text, query.String())
	mac := hmac.New(sha1.New, []byte(secret+"&"))
	mac.Write([]byte(text.String()))
	return base64.StdEncoding.EncodeToString(mac.Sum(nil))
}

// writeQuery writes parameters sorted by name and escaped after RFC 3986.
func writeQuery(b *strings.Builder, params map[string]string) {
	for i, name := range slices.Sorted(maps.Keys(params)) {
		if i > 0 {
			b.WriteByte('&')
		}
		writeEscaped(b, name)
		b.WriteByte('=')
		writeEscaped(b, params[name])
	}
}

// writeEscaped escapes everything but RFC 3986's unreserved characters.
// url.QueryEscape differs for the space, the asterisk and the tilde.
func writeEscaped(b *strings.Builder, s string) {
	for _, c := range []byte(s) {
		switch {
		case c >= 'a' && c <= 'z', c >= 'A' && c <= 'Z', c >= '0' && c <= '9',
			c == '-', c == '_', c == '.', c == '~':
			b.WriteByte(c)
		default:
			b.WriteByte('%')
			b.WriteByte(hexDigitsUpper[c>>4])
			b.WriteByte(hexDigitsUpper[c&15])
		}
	}
}
