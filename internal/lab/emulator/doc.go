// Package emulator is a local Dysmsapi 2017-05-25, Aliyun's SMS service,
// faithful enough that other vendors' clients work against it: it checks both
// signatures, the clock, the nonce and the parameters, enforces the limits per
// phone, answers look-ups, pushes delivery reports, and misbehaves on request.
//
// The actions are SendSms, QuerySendDetails, QuerySmsSign and QuerySmsTemplate.
// Answers are always JSON, whatever Format asks for.
//
// # What it keeps
//
// Every message it accepts is kept in memory until [Emulator.Reset], because a
// test wants to see all of them: a run of a million messages takes about a
// gigabyte. [Options].Keep bounds that by time. Nonces are kept only as long as the 15 minute
// window of the signature makes a replay possible.
//
// # Administration
//
// These routes need no signature, and show phone numbers and passcodes on
// purpose. Serve the emulator on loopback alone.
//
//	GET    /_/sent    what was accepted, one JSON object a line, oldest first;
//	                  with ?after=N what came behind the first N, or 410 where
//	                  some of that was forgotten
//	GET    /_/stats   counters, see [Stats]
//	POST   /_/reset   forgets everything: messages, limits, nonces, counters, faults
//	GET    /_/faults  the faults and how often each has fired
//	POST   /_/faults  replaces them: one SPEC a line, or JSON (see below)
//	DELETE /_/faults  clears them
//
// The JSON of POST /_/faults is a fault or an array of faults, each a SPEC in a
// string, an object {"spec": SPEC}, or an object of a SPEC's items such as
// {"kind": "code", "code": "Throttling.User", "count": 3}.
//
// # Faults
//
// A fault meets a request that is signed rightly and has sound parameters. The
// first fault that matches is the one that fires; one request meets one fault.
// A fault that accepts the message does not fire where the limits refuse it.
//
// A fault is written as a SPEC, items with commas between, the kind first. See
// [FaultHelp] for the kinds and options, and [ParseFault].
package emulator

// FaultHelp describes the SPEC of a fault for a command's help.
const FaultHelp = `A fault SPEC is a list of items with commas between, its kind first:

  code=CODE         answer this code, service (isv.…, isp.…) or gateway
  throttle          short for code=Throttling.User
  html502           502 with a page of HTML
  empty             200 without a body
  garbage           200 with JSON that breaks off
  hang              never answer; ends when the client goes
  drop              close the connection without an answer
  reset             reset the connection (RST) without an answer
  slow              the right answer, its body dripped over duration=
  latency=TIME      the right answer after TIME
  lag=TIME          the right answer, but look-ups find the message only after TIME
  undelivered       the right answer, but the carrier reports err=

The kinds from code to reset leave the message unaccepted. With accept_ before
them (accept_drop, accept_code=InternalError) it is accepted all the same.

Options:

  count=N           fire N times, then never again
  share=0.25        fire on this share of the matching requests
  phone=NUMBER      only for this number
  action=ACTION     SendSms (the default), QuerySendDetails, QuerySmsSign or
                    QuerySmsTemplate
  latency=TIME      answer after TIME
  lag=TIME          look-ups find the accepted message only after TIME
  err=CODE          the carrier's report code of the accepted message
  duration=TIME     of slow; 5s unless given
  status=N          HTTP status of code; unless given, the one Aliyun uses
  message=TEXT      message of code; last item, takes the rest of the SPEC

Examples:

  accept_drop,count=1
  code=isv.SMS_TEMPLATE_ILLEGAL,phone=85268326366
  code=ServiceUnavailable,share=0.1
  throttle,count=3
  hang,action=QuerySendDetails
  code=isv.BUSINESS_LIMIT_CONTROL,message=触发天级流控Permits:10
`
