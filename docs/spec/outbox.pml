/*
 * The protocol of outboxd between MongoDB, its workers and a provider. README.md beside this file says what is modelled,
 * what is left out, and which function of the code each action stands for. scripts/check-spec runs every configuration.
 *
 * A configuration is a set of -D options:
 *   KIND      MESSAGE (e-mail, SMS: no keys at the provider) or CHARGE (create, save, confirm)
 *   POLICY    RETRY, RECONCILE or PARK
 *   MAX       attempts of an intent; INTENTS: 1 or 2 messages, 1 charge
 *   CRASHES   how often a worker may die; STALLS: how often one may outlast its lease
 *   ZOMBIE    a stall may also happen between the last fence and the write to the provider
 *   NAP       a stall may also happen between the answer to a look-up and the decision about it
 *   ASKED     that decision counts absent_after up to the question, not up to the decision
 *   EXPIRY    the ticks after which an intent expires; SWEEP: expired intents are claimed before they are due;
 *             KNOWN: but only those whose outcome is known
 *   FORGETS   the provider may forget its idempotency keys while nothing is under way
 *   LIES      the provider's log may hide an effect for ever
 *   STRICT    with ZOMBIE: also a charge that is dead has surely not been made
 *   ONCE      with POLICY RETRY: also at most one effect
 *   EFFECTS   do not check the number of requests; MONEY: nor what a dead letter promises
 *   REPEATED  check what a worker is told when it repeats a settle
 *   BRIEF     nobody limits the rate, which makes for shorter stories
 *   LIVE      check that every intent ends, once the faults do
 * and the mutations NO_FENCE, NO_TOKEN, FRESH, BLIND, KEY_PER_ATTEMPT, LONG_CALL, NOT_COUNTED, NO_RECLAIM.
 */

#define MESSAGE   0
#define CHARGE    1
#define RETRY     0
#define RECONCILE 1
#define PARK      2

#define WORKERS 2
#ifndef INTENTS
#define INTENTS 1
#endif
#ifndef EXPIRY
#define EXPIRY NONE
#endif

/* Time is counted in ticks. A lease has one tick for the call after the one in which the call must begin. */
#define LEASE    2 /* of a claim */
#define FLIGHT   1 /* after a request was written: how late the provider may still act on it */
#define LAG      1 /* after the provider acted: how late its log may show it */
#define WAIT     1 /* reconcile.wait */
#define INTERVAL 1 /* reconcile.interval */
#ifndef ABSENT
#define ABSENT   3 /* reconcile.absent_after, above FLIGHT + LAG */
#endif
#define GIVE_UP  4 /* reconcile.give_up */
#define OLD      4 /* ages are not counted beyond this */
#define NONE     7 /* no such instant */
#define LOOK_UP_CRASHES 1 /* 10 in the code */

#if KIND == CHARGE
#define ASKS_FIRST true
#define PIS 3   /* PaymentIntents there can be */
#define SLOTS 2 /* requests on their way there can be */
#else
#define ASKS_FIRST false
#define SLOTS 1
#endif

/* Statuses, and reasons of a dead letter. */
#define PENDING 0
#define LEASED  1
#define DONE    2
#define DEAD    3
#define PERMANENT 1
#define EXHAUSTED 2
#define EXPIRED   3
#define AMBIGUOUS 4

/* Where a worker is. */
#define IDLE    0
#define CLAIMED 1 /* the claim's answer is there, and Next has said what may be done; the fence was not asked */
#define DELIVER 2 /* charge: before the PaymentIntent is created or asked for */
#define SAVE    3 /* charge: before progress is stored */
#define WINDOW  4 /* the last fence is passed; the request that has the effect is not written yet */
#define LOOKED  5 /* a look-up was answered */
#define ANSWER  6 /* the attempt has its verdict */
#define SETTLE  7 /* the decision is made */
#define AGAIN   8 /* it was written, but the answer was lost: it is settled again */

/* Verdicts. */
#define DELIVERED 1
#define TRANSIENT 2
#define LIMITED   3
#define REFUSED   4
#define UNKNOWN   5
#define FOUND     6
#define NOT_FOUND 7
#define NO_ANSWER 8
#define LOOK_UP_REFUSED 9
#define ABANDONED 10
#define UNSENT    11
#define LAPSED    12
#define SPENT     13

/* What happens to ambiguous_at. */
#define KEEP  0
#define SET   1
#define CLEAR 2

/* An intent's document. Instants are kept as what is left until them, or as what has passed since. */
typedef Document {
	byte status;
	byte reason;
	byte attempts;
	byte token;      /* 0: no lease; otherwise the holder, who has one claim at a time */
	bool reclaimed;
	byte due;        /* left until due_at, which is the lease's end while leased */
	byte expires = EXPIRY; /* left until expires_at */
	byte mark = NONE; /* since ambiguous_at */
	byte recorded;   /* the last attempt in history */
	byte ended = NONE; /* since the end of the last attempt in history that has a time */
#if KIND == CHARGE
	byte pi;         /* progress: the PaymentIntent, 0 if none */
	byte suffix;     /* progress: which confirmation key is in use, 0 or 1 */
#endif
};

/* A request that its sender may have given up, and that the provider may still act on. */
typedef Request {
	bool on;
	byte left;
#if KIND == CHARGE
	byte pi;
	byte suffix;
#endif
};

#define KEY_CHARGED  1
#define KEY_DECLINED 2
#define KEY_ERROR    3
typedef PaymentIntent {
	bool charged;
	bool declined;
	byte answer[2]; /* stored under a confirmation's key; 0 if the key is new */
};

/* What the provider knows about an intent. */
typedef Provider {
	Request late[SLOTS];
	byte effects;
	byte since;      /* the first effect */
	byte requests;   /* that could have had an effect */
#if KIND == CHARGE
	byte made;       /* PaymentIntents so far */
	byte created;    /* the PaymentIntent stored under the creation's key, 0 if the key is new */
	PaymentIntent pi[PIS];
#endif
};

Document doc[INTENTS];
Provider at[INTENTS];
byte phase[WORKERS];
byte left[WORKERS]; /* of the worker's lease, by its own clock */
byte age[WORKERS];  /* since the look-up was answered, or since the decision */
byte crashes = CRASHES, stalls = STALLS; /* that may still come */
bool swept;         /* in this tick */
bool calm;          /* faults have come to their end */

/* What must never be true. The names are what the model checker prints. */
bool doubled, done_without_effect, dead_with_effect, stale_write, too_many_attempts, wrong_answer;

inline deny(what, condition) {
	what = (condition);
	assert(!what);
	what = false
}

/* What a final state promises, asked when it is written and at every later effect. */
inline judge(i) {
	if
	:: doc[i].status == DONE -> deny(done_without_effect, at[i].effects == 0)
	:: doc[i].status == DEAD && doc[i].reason != AMBIGUOUS && doc[i].mark == NONE ->
#if (!defined(ZOMBIE) || defined(STRICT)) && !defined(MONEY)
		deny(dead_with_effect, at[i].effects > 0)
#else
		skip
#endif
	:: else
	fi
}

/* The provider acts. */
inline act(i) {
	printf("the provider acts on intent %d\n", i);
	at[i].effects++;
	if
	:: at[i].effects == 1 -> at[i].since = 0
	:: else -> at[i].effects = 2 /* two are as bad as three */
	fi;
#if KIND == CHARGE || POLICY != RETRY || defined(ONCE)
	deny(doubled, at[i].effects > 1);
#endif
	judge(i)
}

#if KIND == CHARGE
#define THE(i, n) at[i].pi[(n) - 1]

/* A confirmation arrives at the provider: a key is acted upon once, a PaymentIntent is charged once. said is KEY_*. */
inline confirm(i, n, suffix_, said) {
	if
	:: THE(i, n).answer[suffix_] != 0 -> said = THE(i, n).answer[suffix_]
	:: else ->
		if
		:: THE(i, n).charged -> said = KEY_CHARGED /* refused as an unexpected state; afterDoubt asks, and sees it */
		:: !THE(i, n).charged -> THE(i, n).charged = true; said = KEY_CHARGED; act(i)
		:: !THE(i, n).charged && !calm -> THE(i, n).charged = true; said = KEY_ERROR; act(i)
		:: !THE(i, n).charged && !calm -> said = KEY_ERROR
		:: !THE(i, n).charged -> said = KEY_DECLINED; THE(i, n).declined = true
		fi;
		THE(i, n).answer[suffix_] = said
	fi
}
#endif

/* A request is left to itself: the provider acts on it within FLIGHT, or never. */
inline set_off(i, n, suffix_) {
	if
	:: !at[i].late[0].on -> k = 0
#if SLOTS > 1
	:: at[i].late[0].on && !at[i].late[1].on -> k = 1
#endif
	:: else -> k = SLOTS /* no more of them at once: this one never arrives */
	fi;
	if
	:: k < SLOTS ->
		at[i].late[k].on = true;
		at[i].late[k].left = FLIGHT;
#if KIND == CHARGE
		at[i].late[k].pi = n;
		at[i].late[k].suffix = suffix_;
#endif
	:: else
	fi;
	k = 0
}

inline arrive(i, s) {
	d_step { at[i].late[s].on = false; at[i].late[s].left = 0 };
#if KIND == CHARGE
	n = at[i].late[s].pi;
	suffix = at[i].late[s].suffix;
	at[i].late[s].pi = 0;
	at[i].late[s].suffix = 0;
	confirm(i, n, suffix, said);
	n = 0; suffix = 0; said = 0
#else
	act(i)
#endif
}

#define CAN_ARRIVE(i, s) at[i].late[s].on

/* Requests on their way arrive or get lost. */
active proctype Network() {
#if KIND == CHARGE
	byte n, suffix, said;
#endif
	do
	:: atomic { CAN_ARRIVE(0, 0) -> printf("intent 0: a late request arrives\n"); arrive(0, 0) }
	:: atomic { CAN_ARRIVE(0, 0) -> at[0].late[0].on = false; at[0].late[0].left = 0 }
#if SLOTS > 1
	:: atomic { CAN_ARRIVE(0, 1) -> printf("intent 0: a late request arrives\n"); arrive(0, 1) }
	:: atomic { CAN_ARRIVE(0, 1) -> at[0].late[1].on = false; at[0].late[1].left = 0 }
#endif
#if INTENTS > 1
	:: atomic { CAN_ARRIVE(1, 0) -> printf("intent 1: a late request arrives\n"); arrive(1, 0) }
	:: atomic { CAN_ARRIVE(1, 0) -> at[1].late[0].on = false; at[1].late[0].left = 0 }
#endif
	od
}

/* Whether a worker may outlast its lease where it is. Between fence and write that is the documented window. */
#ifdef ZOMBIE
#define MAY_STALL_IN_WINDOW true
#else
#define MAY_STALL_IN_WINDOW false
#endif
#ifdef NAP
#define MAY_NAP true
#else
#define MAY_NAP false
#endif
#ifdef LONG_CALL
#define IN_LONG_CALL(w) (phase[w] == WINDOW || phase[w] == ANSWER)
#else
#define IN_LONG_CALL(w) false
#endif
#define ENDS(w)   (phase[w] != IDLE && left[w] == 1)
#define STALLS_AT(w) (stalls > 0 && !calm && (phase[w] != WINDOW || MAY_STALL_IN_WINDOW) && (phase[w] != LOOKED || MAY_NAP))
/* Once faults have ended, calls are shorter than a tick. */
#define TICKS(w)  ((!ENDS(w) || IN_LONG_CALL(w) || STALLS_AT(w)) && (!calm || phase[w] == IDLE))

/* Two stalls at once cost two. */
#define WELL      (TICKS(0) && TICKS(1) && (stalls > 1 || !ENDS(0) || !ENDS(1) || IN_LONG_CALL(0) || IN_LONG_CALL(1)))
/* No request on its way is over its time. */
#define IN_TIME(i, s) !(at[i].late[s].on && at[i].late[s].left == 0)
#if SLOTS > 1
#define ON_TIME   (IN_TIME(0, 0) && IN_TIME(0, 1))
#elif INTENTS > 1
#define ON_TIME   (IN_TIME(0, 0) && IN_TIME(1, 0))
#else
#define ON_TIME   IN_TIME(0, 0)
#endif

inline older(x) {
	if
	:: x < OLD -> x++
	:: else
	fi
}
inline nearer(x) {
	if
	:: x > 0 && x != NONE -> x--
	:: else
	fi
}

/* Time passes where nobody has to do something before: a worker that is well ends within its lease. */
active proctype Clock() {
	byte j, s;
	do
	:: d_step {
		ON_TIME && WELL ->
		printf("tick\n");
		j = 0;
		do
		:: j < WORKERS ->
			if
			:: phase[j] != IDLE ->
				if
				:: ENDS(j) && !IN_LONG_CALL(j) -> stalls--; printf("worker %d outlasts its lease\n", j)
				:: else
				fi;
				nearer(left[j]);
				if
				:: phase[j] == LOOKED || phase[j] == SETTLE -> older(age[j])
				:: else
				fi
			:: else
			fi;
			j++
		:: else -> break
		od;
		j = 0;
		do
		:: j < INTENTS ->
			nearer(doc[j].due);
			nearer(doc[j].expires);
			older(doc[j].mark);
			older(doc[j].ended);
			older(at[j].since);
			s = 0;
			do
			:: s < SLOTS -> nearer(at[j].late[s].left); s++
			:: else -> break
			od;
			j++
		:: else -> break
		od;
		j = 0; s = 0;
		swept = false
	}
#if KIND == CHARGE && defined(FORGETS)
	/* Stripe forgets keys after a day, which no attempt lasts. */
	:: d_step {
		phase[0] == IDLE && phase[1] == IDLE && !at[0].late[0].on && !at[0].late[1].on && at[0].created != 0 ->
		printf("the provider forgets its keys\n");
		at[0].created = 0;
		j = 0;
		do
		:: j < PIS -> at[0].pi[j].answer[0] = 0; at[0].pi[j].answer[1] = 0; j++
		:: else -> break
		od;
		j = 0
	}
#endif
#ifdef LIVE
	:: !calm -> calm = true
#endif
	od
}

#ifdef NO_RECLAIM
#define DUE(i) (doc[i].status == PENDING && doc[i].due == 0)
#else
#define DUE(i) ((doc[i].status == PENDING || doc[i].status == LEASED) && doc[i].due == 0)
#endif
#ifdef KNOWN
#define MAY_SWEEP(i) (doc[i].mark == NONE)
#else
#define MAY_SWEEP(i) true
#endif
#define OVERDUE(i) (doc[i].status == PENDING && doc[i].expires == 0 && MAY_SWEEP(i) && !swept && !(calm && doc[i].due == 0))

/* What may be done with an intent just claimed: outbox.Next. */
#define DOUBT (doc[i].reclaimed || doc[i].mark != NONE)
#define OVER  (doc[i].expires == 0)
#define USED  (doc[i].attempts > MAX)
#define MOST  (doc[i].recorded > MAX -> doc[i].recorded : MAX)

#define SEND    1
#define LOOK_UP 2

inline next() {
	if
	:: DOUBT && doc[i].attempts > MOST + LOOK_UP_CRASHES -> verdict = ABANDONED
	:: DOUBT && doc[i].attempts <= MOST + LOOK_UP_CRASHES ->
#if KIND == CHARGE
		action = ((USED || OVER) -> LOOK_UP : SEND)
#elif POLICY == RETRY
		if
		:: USED || OVER -> verdict = ABANDONED
		:: else -> action = SEND
		fi
#elif POLICY == RECONCILE
		if
		:: doc[i].mark != NONE -> action = LOOK_UP
		:: else -> verdict = ABANDONED
		fi
#else
		verdict = ABANDONED
#endif
	:: !DOUBT && OVER -> verdict = LAPSED
	:: !DOUBT && !OVER && USED -> verdict = SPENT
	:: !DOUBT && !OVER && !USED -> action = SEND
	fi;
	if
	:: sweep && action != 0 -> action = 0; verdict = UNSENT /* dispatcher.expireSome: it calls nobody */
	:: else
	fi;
	sweep = false;
	phase[w] = (verdict != 0 -> ANSWER : CLAIMED)
}

inline claim(j, sweeping) {
	i = j;
	sweep = sweeping;
#ifdef FRESH
	doc[i].reclaimed = false;
#else
	doc[i].reclaimed = (doc[i].status == LEASED);
#endif
#ifdef NOT_COUNTED
	doc[i].attempts = (doc[i].attempts == 0 -> 1 : doc[i].attempts);
#else
	doc[i].attempts++;
#endif
	doc[i].status = LEASED;
	doc[i].token = w + 1;
	doc[i].due = LEASE;
	left[w] = LEASE;
#if KIND == CHARGE && !defined(KEY_PER_ATTEMPT)
	pi = doc[i].pi;
	suffix = doc[i].suffix;
#endif
	printf("worker %d claims intent %d: attempt %d, reclaimed %d\n", w, i, doc[i].attempts, doc[i].reclaimed);
	next()
}

#define HOLDS (doc[i].token == w + 1)

#define HOLDS (doc[i].token == w + 1)

#ifdef NO_FENCE
#define PASSED false
#else
#define PASSED (left[w] < LEASE) /* what is left does not hold a whole call */
#endif

inline ends_with(v) {
	verdict = v;
	phase[w] = ANSWER
}

/* The fence: what was claimed is begun only if it can also end under the lease. A look-up is asked at once. */
inline fence() {
	if
	:: PASSED -> ends_with(UNSENT)
	:: !PASSED && action == SEND ->
#if KIND == CHARGE
		phase[w] = DELIVER
#else
		phase[w] = WINDOW
#endif
	:: !PASSED && action == LOOK_UP -> look_up()
	fi;
	action = 0
}

#ifdef LIES
#define MAY_HIDE true
#else
#define MAY_HIDE (at[i].since < LAG)
#endif

inline look_up() {
#if KIND == CHARGE
	if /* the stored PaymentIntent is asked for: it does not lag */
	:: pi == 0 -> verdict = NOT_FOUND
	:: pi != 0 && THE(i, pi).charged -> verdict = FOUND
	:: pi != 0 && !THE(i, pi).charged && THE(i, pi).declined -> verdict = LOOK_UP_REFUSED
	:: pi != 0 && !THE(i, pi).charged && !THE(i, pi).declined -> verdict = NOT_FOUND
	:: !calm -> verdict = NO_ANSWER
	fi;
#else
	if
	:: at[i].effects > 0 -> verdict = FOUND
	:: at[i].effects == 0 || MAY_HIDE -> verdict = NOT_FOUND
	:: !calm -> verdict = NO_ANSWER
	fi;
#endif
	age[w] = 0;
	phase[w] = LOOKED;
	printf("worker %d asks about intent %d and learns %d\n", w, i, verdict)
}

#ifdef BRIEF
#define MAY_LIMIT false
#else
#define MAY_LIMIT (!calm)
#endif

inline ask_for_an_effect() {
#ifndef EFFECTS
	at[i].requests++;
	deny(too_many_attempts, at[i].requests > MAX)
#else
	skip
#endif
}

#if KIND == CHARGE
#ifdef KEY_PER_ATTEMPT
#define KNOWS_KEY false
#else
#define KNOWS_KEY (at[i].created != 0)
#endif

/* Create the PaymentIntent, or ask for the stored one. */
inline create_or_ask() {
	if
	:: left[w] == 0 -> ends_with(TRANSIENT)
	:: left[w] > 0 && !calm -> ends_with(TRANSIENT)
	:: left[w] > 0 && MAY_LIMIT -> ends_with(LIMITED)
	:: left[w] > 0 && pi == 0 -> ends_with(REFUSED)
	:: left[w] > 0 && pi == 0 && (KNOWS_KEY || at[i].made < PIS) ->
		if
		:: KNOWS_KEY -> said = at[i].created
		:: else ->
			at[i].made++;
			said = at[i].made;
			at[i].created = said
		fi;
		if
		:: pi = said; phase[w] = SAVE; printf("worker %d has PaymentIntent %d\n", w, pi)
		:: !calm -> ends_with(TRANSIENT)
		fi;
		said = 0
	:: left[w] > 0 && pi != 0 && THE(i, pi).charged -> ends_with(DELIVERED)
	:: left[w] > 0 && pi != 0 && !THE(i, pi).charged && THE(i, pi).declined -> ends_with(REFUSED)
	:: left[w] > 0 && pi != 0 && !THE(i, pi).charged && !THE(i, pi).declined -> phase[w] = SAVE
	fi
}

/* Store progress under the token; only then there is a confirmation, and only if there is time for it. */
inline save() {
#ifdef BLIND
	phase[w] = WINDOW
#else
	if
	:: HOLDS ->
		doc[i].pi = pi;
		doc[i].suffix = suffix;
		if
		:: left[w] == 0 || !calm -> ends_with(TRANSIENT)
		:: left[w] > 0 -> phase[w] = WINDOW
		fi
	:: !HOLDS || !calm -> ends_with(TRANSIENT)
	fi
#endif
}

/* The request that moves money is written. */
inline write() {
	if
	:: !calm -> ends_with(TRANSIENT)
	:: MAY_LIMIT -> ends_with(LIMITED)
	:: !calm -> ask_for_an_effect(); set_off(i, pi, suffix); ends_with(UNKNOWN)
	:: ask_for_an_effect();
		replayed = (THE(i, pi).answer[suffix] == KEY_ERROR);
		printf("worker %d confirms PaymentIntent %d of intent %d\n", w, pi, i);
		confirm(i, pi, suffix, said);
		if
		:: said == KEY_CHARGED -> ends_with(DELIVERED)
		:: said == KEY_DECLINED -> ends_with(REFUSED)
		:: said == KEY_ERROR ->
			if
			:: replayed && HOLDS && suffix == 0 -> doc[i].suffix = 1
			:: else
			fi;
			ends_with(UNKNOWN)
		:: !calm -> ends_with(UNKNOWN)
		fi;
		said = 0;
		replayed = false
	fi
}
#else
/* The request that sends the message is written. */
inline write() {
	if
	:: !calm -> ends_with(TRANSIENT)
	:: MAY_LIMIT -> ends_with(LIMITED)
	:: !calm -> ask_for_an_effect(); set_off(i, 0, 0); ends_with(UNKNOWN)
	:: ends_with(REFUSED)
	:: ask_for_an_effect();
		printf("worker %d sends intent %d\n", w, i);
		act(i);
		if
		:: ends_with(DELIVERED)
		:: !calm -> ends_with(UNKNOWN)
		fi
	fi
}
#endif

/* outbox.Decide: the state that settling writes. */

/* A lease that ran out may have been an attempt's: decision.justLost. */
#define JUST_LOST (doc[i].reclaimed && (doc[i].mark == NONE || (ASKS_FIRST && doc[i].attempts - 1 <= MAX)))

#define ONLY_LOOK_UPS (ASKS_FIRST && (new_attempts >= MAX || (doc[i].expires != NONE && doc[i].expires <= new_due)))

inline counted() {
	new_attempts = (doc[i].attempts < MOST -> doc[i].attempts : MOST);
	new_recorded = new_attempts
}
inline given_back() {
	new_attempts = (doc[i].attempts - 1 < MOST -> doc[i].attempts - 1 : MOST)
}
inline again(wait) {
	new_status = PENDING;
	new_due = wait;
	if /* the mark and history are too old to tell when the lost attempt was */
	:: JUST_LOST && doc[i].mark != NONE && ONLY_LOOK_UPS && new_due < ABSENT -> new_due = ABSENT
	:: else
	fi
}
inline dies(why) {
	new_status = DEAD;
	new_reason = why
}
/* The intent ends for a reason that says that this attempt had no effect, unless an earlier one may have had it. */
inline dies_unless(why) {
	if
	:: !DOUBT -> dies(why)
	:: DOUBT ->
#if KIND == CHARGE || POLICY == RECONCILE
		again(WAIT)
#else
		dies(AMBIGUOUS)
#endif
	fi
}

/* Since when the outcome is ambiguous: decision.since. */
inline how_long(x) {
	if
	:: doc[i].mark == NONE || JUST_LOST -> x = 0
	:: else -> x = (doc[i].ended < doc[i].mark -> doc[i].ended : doc[i].mark)
	fi;
#ifdef ASKED
	x = (x > age[w] -> x - age[w] : 0)
#endif
}

inline decide() {
	new_recorded = doc[i].recorded;
	if /* the attempts whose leases ran out go into history, without a time */
	:: doc[i].reclaimed && doc[i].attempts - 1 > new_recorded ->
		new_recorded = (doc[i].attempts - 1 < MOST -> doc[i].attempts - 1 : MOST)
	:: else
	fi;
	if
	:: verdict == DELIVERED -> counted(); count = true; new_status = DONE; mark = CLEAR
	:: verdict == FOUND -> given_back(); new_status = DONE; mark = CLEAR
	:: verdict == LIMITED -> given_back(); again(0)
	:: verdict == REFUSED ->
		counted(); count = true;
		mark = (ASKS_FIRST -> CLEAR : KEEP);
		dies(PERMANENT)
	:: verdict == TRANSIENT ->
		counted(); count = true;
		if
		:: new_attempts < MAX -> again(0)
		:: else -> dies_unless(EXHAUSTED)
		fi
	:: verdict == UNKNOWN ->
		counted(); count = true;
		mark = SET;
#if KIND == CHARGE
		again((new_attempts >= MAX -> WAIT : 0))
#elif POLICY == RECONCILE
		again(WAIT)
#elif POLICY == RETRY
		if
		:: new_attempts < MAX -> again(0)
		:: else -> dies(AMBIGUOUS)
		fi
#else
		dies(AMBIGUOUS)
#endif
	:: verdict == ABANDONED ->
		given_back(); mark = SET;
		if
		:: POLICY == RECONCILE && doc[i].mark == NONE -> again(WAIT)
		:: else -> dies(AMBIGUOUS)
		fi
	:: verdict == LAPSED -> given_back(); dies(EXPIRED)
	:: verdict == SPENT -> given_back(); dies(EXHAUSTED)
	:: verdict == UNSENT -> given_back(); again(0)
	:: verdict == NOT_FOUND ->
		given_back();
		how_long(waited);
		if
		:: waited < ABSENT -> mark = SET; again((ABSENT - waited < INTERVAL -> ABSENT - waited : INTERVAL))
		:: waited >= ABSENT ->
			mark = CLEAR;
			if
			:: OVER -> dies(EXPIRED)
			:: !OVER && new_attempts >= MAX -> dies(EXHAUSTED)
			:: else -> again(0)
			fi
		fi
	:: verdict == LOOK_UP_REFUSED -> given_back(); mark = CLEAR; dies(PERMANENT)
	:: verdict == NO_ANSWER ->
		given_back(); mark = SET;
		how_long(waited);
		if
		:: waited >= GIVE_UP -> dies(AMBIGUOUS)
		:: else -> again(INTERVAL)
		fi
	fi;
	if /* what the lost lease did stays unknown until a rule cleared it: decision.marked */
	:: new_status != DONE && doc[i].reclaimed && mark == KEEP -> mark = SET
	:: else
	fi;
	waited = 0;
	age[w] = 0;
	phase[w] = SETTLE;
	printf("worker %d decides about intent %d: verdict %d, status %d, reason %d, attempts %d, mark %d, due in %d\n",
		w, i, verdict, new_status, new_reason, new_attempts, mark, new_due);
	verdict = 0
}

/* The one write of settling. */
inline settle() {
	deny(stale_write, !HOLDS);
	doc[i].status = new_status;
	doc[i].reason = new_reason;
	doc[i].attempts = new_attempts;
	doc[i].recorded = new_recorded;
	doc[i].token = 0;
	doc[i].reclaimed = false;
	doc[i].due = new_due;
	if
	:: count -> doc[i].ended = age[w]
	:: else
	fi;
	if
	:: mark == CLEAR -> doc[i].mark = NONE
	:: mark == SET && doc[i].mark == NONE -> doc[i].mark = 0
	:: else
	fi;
	judge(i);
#ifdef REPEATED
	wrote = true;
#endif
	printf("worker %d settles intent %d\n", w, i)
}

/* What outbox.Settlement.writtenIn says of a settlement that left no record in history. */
#define WRITTEN_THEN (doc[i].status == LEASED && new_status == PENDING && !doc[i].reclaimed && doc[i].attempts == new_attempts + 1)
#define WRITTEN_NOW  (doc[i].status != LEASED && doc[i].status == new_status && doc[i].attempts == new_attempts)

inline forget() {
	d_step {
		phase[w] = IDLE; left[w] = 0; age[w] = 0; i = 0; action = 0; verdict = 0; mark = 0; count = false;
		new_status = 0; new_reason = 0; new_attempts = 0; new_recorded = 0; new_due = 0;
#ifdef REPEATED
		wrote = false;
#endif
#if KIND == CHARGE
		pi = 0; suffix = 0
#endif
	}
}

#ifdef NO_TOKEN
#define MATCHES true
#else
#define MATCHES HOLDS
#endif

active [WORKERS] proctype Worker() {
	byte w = _pid - 2; /* after Network and Clock */
	byte i, action, verdict, mark, new_status, new_reason, new_attempts, new_recorded, new_due;
	byte waited, k;
	bool sweep, count;
#ifdef REPEATED
	bool wrote;
#endif
#if KIND == CHARGE
	byte pi, suffix, said;
	bool replayed;
#endif
	do
	:: atomic { phase[w] == IDLE && DUE(0) -> claim(0, false) }
#ifdef SWEEP
	:: atomic { phase[w] == IDLE && OVERDUE(0) -> swept = true; claim(0, true) }
#endif
#if INTENTS > 1
	:: atomic { phase[w] == IDLE && DUE(1) -> claim(1, false) }
#endif
	:: atomic { phase[w] == CLAIMED -> fence() }
#if KIND == CHARGE
	:: atomic { phase[w] == DELIVER -> create_or_ask() }
	:: atomic { phase[w] == SAVE -> save() }
#endif
	:: atomic { phase[w] == WINDOW -> write() }
	:: atomic { (phase[w] == ANSWER || phase[w] == LOOKED) && MATCHES -> decide() }
	:: atomic { (phase[w] == ANSWER || phase[w] == LOOKED) && !MATCHES -> forget() } /* whatever it decides will not match */
	:: atomic { phase[w] == SETTLE && MATCHES ->
		settle();
		if
		:: forget()
		:: !calm -> phase[w] = AGAIN
		fi
	}
	:: atomic { (phase[w] == SETTLE || phase[w] == AGAIN) && !MATCHES -> /* the lease is lost, or it was written */
#ifdef REPEATED
		deny(wrong_answer, !count && !wrote && (WRITTEN_THEN || WRITTEN_NOW));
#endif
		forget()
	}
	:: atomic { phase[w] != IDLE && crashes > 0 && !calm -> crashes--; printf("worker %d dies\n", w); forget() }
	od
}

#ifdef LIVE
ltl ends { (<> calm) -> (<> (doc[0].status >= DONE)) }
#endif
