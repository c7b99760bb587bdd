package aliyun

import (
	"fmt"
	"math/rand/v2"
	"net/http"
	"slices"
	"strings"

	"github.com/passcode-worker/passcode-worker/passcode"
)

// malformed is an answer as it must not be, whole as it is on the wire.
type malformed struct {
	family string
	wire   string
	then   ending
	// harmless: what is wrong does not touch what the answer says, so that saying
	// the same as the sound one is right, and so is doubt.
	harmless bool
	sound    sound // what it was made from
}

// ending is what the server does after it has written.
type ending int

const (
	keep      ending = iota // waits for the next request
	hangUp                  // closes the connection
	cutOff                  // resets it
	saysNoEnd               // keeps it open, and writes nothing more
)

// sound is a well-formed answer, and what it means.
type sound struct {
	status int
	body   string
	class  passcode.Class // of a send; empty where it answers a look-up
	found  string         // of a look-up: "accepted", "undelivered", "not found" or ""
	// vital are the members, as they stand in the body, that decide what it means,
	// and trivial those that don't.
	vital, trivial []string
}

const (
	requestID   = `"RequestId":"F655A8D5-B967-440B-8683-DAD6FF8DE990"`
	echo        = `"Message":"13812345678invalid mobile number; code 493817 of Zebra-Shop"`
	receiptText = `"BizId":"900619746936498440^0"`
)

// soundSends are answers to SendSms, of every class.
func soundSends() []sound {
	refuse := func(status int, class passcode.Class, code string) sound {
		member := fmt.Sprintf(`"Code":%q`, code)
		return sound{
			status: status, class: class, body: "{" + strings.Join([]string{echo, requestID, member}, ",") + "}",
			vital: []string{member}, trivial: []string{echo, requestID},
		}
	}
	return []sound{
		{
			status: 200, class: passcode.ClassOK, body: okBody,
			vital: []string{`"Code":"OK"`, receiptText}, trivial: []string{`"Message":"OK"`, requestID},
		},
		refuse(200, passcode.ClassRecipient, "isv.MOBILE_NUMBER_ILLEGAL"),
		refuse(200, passcode.ClassPhoneLimited, "isv.BUSINESS_LIMIT_CONTROL"),
		refuse(200, passcode.ClassConfig, "isv.SMS_TEMPLATE_ILLEGAL"),
		refuse(403, passcode.ClassAccount, "Forbidden.RAM"),
		refuse(400, passcode.ClassThrottled, "Throttling.User"),
		refuse(503, passcode.ClassTransient, "ServiceUnavailable"),
		refuse(500, passcode.ClassInDoubt, "InternalError"),
	}
}

// soundDetails are answers to QuerySendDetails for the test's request.
func soundDetails() []sound {
	const text = `"Content":"【x】493817","PhoneNum":"13812345678"`
	page := func(found string, total int, outID, status string) sound {
		row := fmt.Sprintf(`{%s,"ErrCode":"NO_ROUTE",%s,%s}`, text, outID, status)
		rows := `"SmsSendDetailDTO":[` + row + `]`
		list := `"SmsSendDetailDTOs":{` + rows + `}`
		count := fmt.Sprintf(`"TotalCount":%d`, total)
		return sound{
			status: 200, found: found, body: "{" + strings.Join([]string{count, `"Message":"OK"`, requestID, list, `"Code":"OK"`}, ",") + "}",
			vital: []string{count, `"Code":"OK"`, list, rows, outID, status}, trivial: []string{`"Message":"OK"`, requestID},
		}
	}
	return []sound{
		page("accepted", 1, `"OutId":"req-1"`, `"SendStatus":3`),
		page("accepted", 1, `"OutId":"req-1"`, `"SendStatus":1`),
		page("undelivered", 1, `"OutId":"req-1"`, `"SendStatus":2`),
		page("not found", 1, `"OutId":"req-2"`, `"SendStatus":3`),
	}
}

// family makes one malformed answer from a sound one.
type family struct {
	name string
	make func(*rand.Rand, sound) malformed
}

// corpus makes answers, all different, by a seed: in turn from each family and
// each sound answer.
func corpus(seed uint64, size int, from []sound) []malformed {
	random := rand.New(rand.NewPCG(seed, 0))
	families := slices.Concat(textFamilies(), wireFamilies())
	seen := map[string]bool{}
	var all []malformed
	for round := 0; len(all) < size && round < 100*size; round++ {
		f := families[round%len(families)]
		s := from[(round/len(families))%len(from)]
		m := f.make(random, s)
		m.family, m.sound = f.name, s
		if key := fmt.Sprint(m.then, m.wire); !seen[key] && m.wire != reply(s.status, s.body) {
			seen[key] = true
			all = append(all, m)
		}
	}
	return all
}

// reply is an answer as it should be on the wire.
func reply(status int, body string, headers ...string) string {
	return fmt.Sprintf("HTTP/1.1 %d %s\r\nContent-Type: application/json;charset=utf-8\r\nContent-Length: %d\r\n%s\r\n%s",
		status, http.StatusText(status), len(body), headerLines(headers), body)
}

func headerLines(headers []string) string {
	var lines strings.Builder
	for _, header := range headers {
		lines.WriteString(header + "\r\n")
	}
	return lines.String()
}

func one[T any](random *rand.Rand, of ...T) T { return of[random.IntN(len(of))] }

// put replaces a member by others, and fails where the body has no such member.
func put(body, member, others string) string {
	if !strings.Contains(body, member) {
		panic("no member " + member)
	}
	return strings.Replace(body, member, others, 1)
}

// name returns the quoted name of a member, and its value.
func name(member string) (quoted, value string) {
	quoted, value, _ = strings.Cut(member, ":")
	return quoted, value
}
