package emulator

import (
	"maps"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/passcode-worker/passcode-worker/internal/lab/emulator/gateway"
	"github.com/passcode-worker/passcode-worker/internal/lab/emulator/number"
)

const (
	minuteMessage = "触发分钟级流控Permits:1"
	hourMessage   = "触发小时级流控Permits:5"
	dayMessage    = "触发天级流控Permits:10"
	phoneMessage  = "触发号码天级流控Permits:40"
)

// limitedBy sends once and returns the message of the limit, or "".
func limitedBy(t *testing.T, e *Emulator, changes ...string) string {
	t.Helper()
	got := do(t, e, gateway.ActionSendSms, sending(changes...))
	if got.Code == "OK" {
		return ""
	}
	require.Equal(t, "isv.BUSINESS_LIMIT_CONTROL", got.Code)
	require.Equal(t, 200, got.Status)
	require.Empty(t, got.BizID)
	return got.Message
}

func TestWindows(t *testing.T) {
	t.Parallel()
	e, c := newTest(t, Options{Limits: true})

	assert.Empty(t, limitedBy(t, e))
	assert.Equal(t, minuteMessage, limitedBy(t, e))
	assert.Empty(t, limitedBy(t, e, "PhoneNumbers", "13900000000"), "another phone")
	assert.Empty(t, limitedBy(t, e, "SignName", "Shop"), "another signature")
	assert.Equal(t, minuteMessage, limitedBy(t, e, "PhoneNumbers", "8613812345678"), "the same phone otherwise written")
	assert.Equal(t, minuteMessage, limitedBy(t, e, "TemplateCode", "SMS_2"), "another template")
	c.Move(time.Minute - 1)
	assert.Equal(t, minuteMessage, limitedBy(t, e))
	c.Move(1)
	for range 4 {
		assert.Empty(t, limitedBy(t, e))
		c.Move(time.Minute)
	}
	assert.Equal(t, hourMessage, limitedBy(t, e), "5 in 5 minutes")
	c.Set(testStart.Add(time.Hour - 1))
	assert.Equal(t, hourMessage, limitedBy(t, e))
	c.Move(1)
	assert.Empty(t, limitedBy(t, e), "the first has left the window, the others have not")
	c.Move(time.Minute - 1)
	assert.Equal(t, minuteMessage, limitedBy(t, e))
	c.Set(testStart.Add(2 * time.Hour))
	for range 4 {
		assert.Empty(t, limitedBy(t, e))
		c.Move(time.Minute)
	}
	assert.Equal(t, dayMessage, limitedBy(t, e), "10 in little more than 2 hours")
	c.Set(testStart.Add(day - 1))
	assert.Equal(t, dayMessage, limitedBy(t, e))
	c.Move(1)
	assert.Empty(t, limitedBy(t, e))
}

func TestPhoneWindow(t *testing.T) {
	t.Parallel()
	e, c := newTest(t, Options{Limits: true})
	for i := range 40 {
		require.Empty(t, limitedBy(t, e, "SignName", string(rune('a'+i))))
	}
	assert.Equal(t, phoneMessage, limitedBy(t, e, "SignName", "one more"))
	c.Move(day)
	assert.Empty(t, limitedBy(t, e, "SignName", "one more"))
}

func TestSeveralNumbersAreAllOrNothing(t *testing.T) {
	t.Parallel()
	e, _ := newTest(t, Options{Limits: true})
	require.Empty(t, limitedBy(t, e, "PhoneNumbers", "13900000002"))
	assert.Equal(t, minuteMessage, limitedBy(t, e, "PhoneNumbers", "13900000001,13900000002,13900000003"))
	assert.Empty(t, limitedBy(t, e, "PhoneNumbers", "13900000001,13900000003"), "the refusal counted nothing")
	assert.Equal(t, minuteMessage, limitedBy(t, e, "PhoneNumbers", "13900000004,13900000004"), "one number twice")
	assert.Len(t, e.Sent(), 3)
}

// TestLimitsOff: without them the service sends as often as it is asked.
func TestLimitsOff(t *testing.T) {
	t.Parallel()
	e, _ := newTest(t, Options{})
	for range 50 {
		mustSend(t, e)
	}
	assert.Len(t, e.Sent(), 50)
	assert.Empty(t, e.limits, "nothing is kept for limits that are off")
}

// TestUnacceptedMessagesDoNotCount: what a fault leaves unaccepted takes no
// permit, what it accepts does.
func TestUnacceptedMessagesDoNotCount(t *testing.T) {
	t.Parallel()
	e, _ := newTest(t, Options{Limits: true, Faults: []string{"code=isp.SYSTEM_ERROR,count=2", "accept_code=InternalError"}})
	for _, want := range []string{"isp.SYSTEM_ERROR", "isp.SYSTEM_ERROR", "InternalError", "isv.BUSINESS_LIMIT_CONTROL", "isv.BUSINESS_LIMIT_CONTROL"} {
		assert.Equal(t, want, do(t, e, gateway.ActionSendSms, sending()).Code)
	}
	assert.Len(t, e.Sent(), 1)
	assert.Equal(t, int64(3), e.Stats().Faults, "a fault that accepts does not fire where the limits refuse")
}

// TestLimitsAgainstModel compares the windows with the plainest model there is:
// look at all that was ever accepted.
func TestLimitsAgainstModel(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		type event struct {
			sign, phone string
			at          time.Time
		}
		var accepted []event
		count := func(span time.Duration, now time.Time, match func(event) bool) (n int) {
			for _, a := range accepted {
				if match(a) && a.at.After(now.Add(-span)) {
					n++
				}
			}
			return n
		}
		l := limits{}
		now := testStart
		for range rapid.IntRange(1, 120).Draw(t, "steps") {
			now = now.Add(rapid.SampledFrom([]time.Duration{
				0, 1, time.Second, time.Minute - 1, time.Minute, 11 * time.Minute, time.Hour, 7 * time.Hour, day,
			}).Draw(t, "after"))
			sign := rapid.SampledFrom([]string{"a", "b", "c", "d", "e", "f"}).Draw(t, "sign")
			phone := rapid.SampledFrom([]string{"1", "2"}).Draw(t, "phone")
			pair := func(a event) bool { return a.sign == sign && a.phone == phone }
			want := ""
			switch {
			case count(time.Minute, now, pair) >= 1:
				want = minuteMessage
			case count(time.Hour, now, pair) >= 5:
				want = hourMessage
			case count(day, now, pair) >= 10:
				want = dayMessage
			case count(day, now, func(a event) bool { return a.phone == phone }) >= 40:
				want = phoneMessage
			}
			to := []recipient{{number: number.Number{Key: phone}, sign: sign}}
			after, got := l.with(to, now)
			if got != want {
				t.Fatalf("%q, the model says %q", got, want)
			}
			if want != "" {
				continue
			}
			if rapid.Bool().Draw(t, "unaccepted") {
				continue
			}
			maps.Copy(l, after)
			accepted = append(accepted, event{sign, phone, now})
			if n := len(l[phone]); n > 40 {
				t.Fatalf("%d entries for a phone", n)
			}
		}
	})
}

// FuzzSend signs whatever it is given: what is accepted keeps the rules.
func FuzzSend(f *testing.F) {
	f.Add("13812345678", "阿里云", "SMS_1", `{"code":"123456"}`, "req-1")
	f.Add("13812345678,85268326366", "a", "b", `{"code":"0a0A","name":"x"}`, "")
	f.Add("+8613812345678", "a", "b", `{"code":1234}`, "\x00")
	f.Fuzz(func(t *testing.T, phones, sign, template, param, outID string) {
		e, _ := newTest(t, Options{Limits: true})
		got := do(t, e, gateway.ActionSendSms, map[string]string{
			"PhoneNumbers": phones, "SignName": sign, "TemplateCode": template, "TemplateParam": param, "OutId": outID,
		})
		sent := e.Sent()
		if (got.Code == "OK") != (len(sent) > 0) || (got.Code == "OK") != (got.BizID != "") {
			t.Fatalf("code %q, BizId %q, %d accepted", got.Code, got.BizID, len(sent))
		}
		for _, s := range sent {
			if !isPasscode(s.Code) || s.OutID != outID || strings.Trim(s.Phone, "0123456789") != "" {
				t.Fatalf("accepted: %+v", s)
			}
		}
	})
}
