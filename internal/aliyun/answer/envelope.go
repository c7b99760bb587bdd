package answer

import (
	"bytes"
	"encoding/json"
	"errors"
	"net/http"
	"strconv"
	"strings"

	"github.com/passcode-worker/passcode-worker/passcode"
)

// MaxBytes bounds an answer. A full page of send details has some 50 KiB.
const MaxBytes = 1 << 20

// ErrUnreadable says that the answer is not one of the service's.
var ErrUnreadable = errors.New("the answer is not one of the service's")

// Envelope is what every answer of the service has, a refusal by the gateway
// included; BizID only one that accepts.
type Envelope struct {
	Code      string
	Message   string
	RequestID string `json:"RequestId"`
	BizID     string `json:"BizId"`
}

// Open reads an answer, and refuses what the service would not write. A code decides
// whether a message is sent again, so it must not be taken from bytes that somebody
// else made, or that got mixed up on the way: a proxy's error page in JSON, a
// redirect's body, a member that stands twice.
func Open(status int, body []byte) (Envelope, error) {
	if len(body) > MaxBytes || status != http.StatusOK && (status < 400 || status > 599) {
		return Envelope{}, ErrUnreadable
	}
	var e Envelope
	if json.Unmarshal(body, &e) != nil || checkMembers(json.NewDecoder(bytes.NewReader(body))) != nil {
		return Envelope{}, ErrUnreadable
	}
	// Missing and null members pass as empty ones, and no code is empty. What is
	// "ok" or "OK." was not written by the service, and is no refusal either.
	if len(e.Code) > MaxCodeBytes || !plainCode.MatchString(e.Code) || !letter(e.Code[0]) ||
		(e.Code != "OK" && strings.EqualFold(strings.Trim(e.Code, "._-"), "OK")) {
		return Envelope{}, ErrUnreadable
	}
	return e, nil
}

// Class is what the answer's code means. A code that nobody knows is for an
// operator to look at, unless it came with a server error: then it may be a
// gateway's that gave up waiting, and tells nothing of the message.
func (e Envelope) Class(status int) passcode.Class {
	class, known := ClassOf(e.Code)
	if !known && status >= http.StatusInternalServerError {
		return passcode.ClassInDoubt
	}
	return class
}

func letter(b byte) bool { return b|0x20 >= 'a' && b|0x20 <= 'z' }

// checkMembers reads one value and refuses objects in which a name stands twice.
// Whoever reads such an object takes the first, the last or, by the SDK, a mixture
// of them. Names that differ in case alone are one to encoding/json.
func checkMembers(decoder *json.Decoder) error {
	token, err := decoder.Token()
	if err != nil {
		return err
	}
	opening, isDelim := token.(json.Delim)
	if !isDelim {
		return nil
	}
	seen := map[string]bool{}
	for decoder.More() {
		if opening == '{' {
			name, err := decoder.Token()
			if err != nil {
				return err
			}
			text, _ := name.(string)
			// Upper case first: ſ and the Kelvin sign fold to s and k.
			folded := strings.ToLower(strings.ToUpper(text))
			if seen[folded] {
				return ErrUnreadable
			}
			seen[folded] = true
		}
		if err := checkMembers(decoder); err != nil {
			return err
		}
	}
	_, err = decoder.Token() // the closing one
	return err
}

// Number is an integer of an answer. The service writes some as strings.
type Number int64

// UnmarshalJSON implements [json.Unmarshaler]: strictly, where the SDK would take
// true for 1 and an empty string for 0.
func (n *Number) UnmarshalJSON(text []byte) error {
	if len(text) > 1 && text[0] == '"' {
		text = text[1 : len(text)-1]
	}
	value, err := strconv.ParseInt(string(text), 10, 64)
	*n = Number(value)
	return err
}
