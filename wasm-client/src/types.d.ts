// Declared by TypeScript 5.2 and later in the library `esnext.disposable`.
declare global {
    interface SymbolConstructor {
        readonly dispose: unique symbol;
    }
    interface Disposable {
        [Symbol.dispose](): void;
    }
}

/**
 * Starts the WebAssembly module, as {@link Client.connect} does by itself. Call it to do that
 * earlier, or from another address. The first call counts. Rejects with a {@link WaddellError}:
 *
 * - `load-failed`: the module cannot be fetched, or may not run here. The next call tries again.
 * - `invalid-option`: the argument is something else.
 */
export default function init(options?: InitOptions): Promise<InitOutput>;

/** Options of {@link init}. */
export interface InitOptions {
    /** The address, bytes or module of the file `waddell/waddell_bg.wasm`. */
    module_or_path: InitInput | Promise<InitInput>;
}

/** What {@link InitOptions.module_or_path} can be. */
export type InitInput = string | URL | Request | Response | BufferSource | WebAssembly.Module;

/** The WebAssembly module's exports. */
export interface InitOutput {
    /** Its memory, whose size is that of all clients together. */
    readonly memory: WebAssembly.Memory;
}

/**
 * A client of a waddell server, which reconnects until it is closed.
 *
 * A client that loses its connection dials again. It has another id then, unless it resumes. It
 * lives until {@link Client.close}, until its attempts are used up, or until the server does not
 * serve it, even if no variable refers to it.
 */
export class Client extends EventTarget {
    private constructor();

    /**
     * Connects to a server: `wss://host/ws`, in a page also `/ws`. Of several addresses of the same
     * server, the next is dialed after a failed dial, or when the server says so.
     *
     * Resolves when the client has received its first id. Rejects with a {@link WaddellError}:
     *
     * - `invalid-url`, `invalid-option`, `no-websocket`: an argument is wrong or missing.
     * - `load-failed`: the WebAssembly module cannot be fetched, or may not run here.
     * - `websocket-refused`: the WebSocket constructor refused the address.
     * - `connect-failed`: the `reconnectAttempts` are used up. `cause` is the last one's error.
     * - `refused`: the server does not serve this client.
     * - `unauthorized`, `token-expired`: the server does not accept the token.
     * - `aborted`: the signal was aborted first.
     */
    static connect(
        url: string | URL | readonly (string | URL)[],
        options?: ConnectOptions,
    ): Promise<Client>;

    /** This client's peer id; `null` unless `state` is `"open"`. */
    readonly id: string | null;

    /** The client's state. */
    readonly state: ClientState;

    /**
     * The parts of the protocol's extension that the server grants on this connection; `null`
     * until it has told, and always if it does not speak the extension.
     */
    readonly extension: Extension | null;

    /** Whether the client has kept its id over the last reconnect. */
    readonly resumed: boolean;

    /**
     * Watches a peer, and resolves to its state when the server has told it. From then on changes
     * are the event `peer`, on this connection and the next ones. A client watches at most 64
     * peers. Watching one again asks for its state again.
     *
     * Rejects with a {@link WaddellError}:
     *
     * - `not-supported`: the server does not tell the state of peers. The peer stays watched, for
     *   connections to others.
     * - `too-many-watched`, `invalid-peer-id`, `closed`.
     * - `aborted`: {@link unwatch} was called first.
     */
    watch(peerId: string): Promise<PeerState>;

    /**
     * Stops watching a peer. The event `peer` still tells what becomes of it if this client has
     * written to it.
     *
     * @throws {WaddellError} `invalid-peer-id`
     */
    unwatch(peerId: string): void;

    /**
     * Gets a new id, and resolves to it. Others cannot reach this client by the old one any more.
     * A server that cannot give an id on the same connection gives one on the next: the client
     * hangs up and dials again.
     *
     * Rejects with a {@link WaddellError}: `too-soon` if the server gives no new id at the moment,
     * `closed` if the client is closed.
     */
    rotate(): Promise<string>;

    /**
     * Resolves to the server's ICE servers for `new RTCPeerConnection({ iceServers })`; `[]` if it
     * has none, or if the option `ice` is false. Their credentials expire: call this for each
     * connection. They are good for at least half of the time that the server gives them.
     *
     * Rejects with a {@link WaddellError}: `closed`.
     */
    iceServers(): Promise<RTCIceServer[]>;

    /**
     * Returns the handle of a topic, a whole number from 0 to 65535. A topic has one handle.
     *
     * Messages that arrived on the topic before can be read, up to a limit: 1 MiB for all topics
     * together that were not opened yet.
     *
     * @throws {WaddellError} `invalid-topic`
     */
    topic(number: number): Topic;

    /**
     * Closes the client for good. Messages that were sent before still go out. Loops over topics
     * end after the messages that arrived before. Closing again does nothing.
     */
    close(): void;

    /** Closes the client at the end of a `using` declaration's block. */
    [Symbol.dispose](): void;

    addEventListener<K extends keyof ClientEventMap>(
        type: K,
        listener: ((this: Client, event: ClientEventMap[K]) => void) | null,
        options?: boolean | AddEventListenerOptions,
    ): void;
    addEventListener(
        type: string,
        listener: EventListenerOrEventListenerObject | null,
        options?: boolean | AddEventListenerOptions,
    ): void;
    removeEventListener<K extends keyof ClientEventMap>(
        type: K,
        listener: ((this: Client, event: ClientEventMap[K]) => void) | null,
        options?: boolean | EventListenerOptions,
    ): void;
    removeEventListener(
        type: string,
        listener: EventListenerOrEventListenerObject | null,
        options?: boolean | EventListenerOptions,
    ): void;
}

/**
 * A client's handle of one topic, which sends and receives its messages.
 *
 * A new message is dispatched to the `message` listeners at once. It is queued for `for await` if
 * a loop is running or if there is no listener. A topic queues at most 1 MiB; further messages are
 * dropped and counted.
 */
export class Topic extends EventTarget implements AsyncIterable<Message> {
    private constructor();

    /** The topic's number. */
    readonly number: number;

    /** How many messages were dropped because the topic was full. */
    readonly lost: number;

    /**
     * Sends a message of at most 65,517 bytes; a client of 2015 reads at most 65,515. Delivery is
     * at most once, and in order between two peers. If the recipient is not connected, there is no
     * error, but the event `undelivered` of a client whose server speaks the extension.
     *
     * @throws {WaddellError} `invalid-peer-id`, `invalid-body`, `body-too-long`,
     * `not-connected`, `closed`, `buffer-full`
     */
    send(peerId: string, body: Body): void;

    /**
     * Sends a message like {@link send}, and resolves or rejects with what became of it. A client
     * has at most 16,384 such messages without an outcome; further ones are refused with
     * `buffer-full`.
     *
     * Rejects with a {@link WaddellError}: with a code of `send`, with an {@link UndeliveredCode},
     * or with
     *
     * - `not-handled`: the connection ended before the server handled the message. Sending it again
     *   makes no duplicate.
     * - `recipient-lost`: the server accepted the message, and the recipient's connection broke
     *   before it was passed on. Sending it again makes no duplicate.
     * - `connection-lost`: the connection ended, and it is not known what became of the message.
     * - `aborted`: the signal was aborted first. The message may have been sent.
     * - `invalid-option`: an option is wrong.
     */
    sendChecked(peerId: string, body: Body, options?: SendOptions): Promise<Delivery>;

    /** Reads messages as they arrive. Each goes to one loop. Ends when the client is closed. */
    [Symbol.asyncIterator](): AsyncIterableIterator<Message>;

    addEventListener<K extends keyof TopicEventMap>(
        type: K,
        listener: ((this: Topic, event: TopicEventMap[K]) => void) | null,
        options?: boolean | AddEventListenerOptions,
    ): void;
    addEventListener(
        type: string,
        listener: EventListenerOrEventListenerObject | null,
        options?: boolean | AddEventListenerOptions,
    ): void;
    removeEventListener<K extends keyof TopicEventMap>(
        type: K,
        listener: ((this: Topic, event: TopicEventMap[K]) => void) | null,
        options?: boolean | EventListenerOptions,
    ): void;
    removeEventListener(
        type: string,
        listener: EventListenerOrEventListenerObject | null,
        options?: boolean | EventListenerOptions,
    ): void;
}

/** The class of every error of this package: an `Error` with a `code`. */
export class WaddellError extends Error {
    private constructor();
    readonly code: ErrorCode;
    /**
     * Code with which the server closed the connection, for errors of lost connections and failed
     * dials: that of the WebSocket, or of the frame CLOSING. Absent if it sent none, as when the
     * connection broke: browsers report 1005 or 1006 then.
     */
    readonly closeCode?: number;
    /** Text that came with `closeCode`, up to 123 bytes of UTF-8; empty if there was none. */
    readonly closeReason?: string;
    /** The error or the abort reason behind this one. */
    readonly cause?: unknown;
}

/** Options of {@link Client.connect}. */
export interface ConnectOptions {
    /**
     * Number of dials after a failed one before the client gives up; `Infinity`: no limit. The
     * client always dials again after it loses an open connection. Default 10, about 5 s of
     * waiting.
     */
    reconnectAttempts?: number;
    /**
     * Longest time from a dial to the server's greeting, in milliseconds; `Infinity`: no limit.
     * Default 10,000.
     */
    connectTimeoutMs?: number;
    /**
     * Interval of keep-alive frames in milliseconds, for proxies that cut idle connections.
     * Default `Infinity`: never, because servers send WebSocket pings.
     */
    keepAliveMs?: number;
    /**
     * Longest time without a byte from the server, in milliseconds; then the connection counts as
     * lost. `Infinity`: no limit. After half of it the client sends a message to itself, which
     * every server returns, and which is not an event. Default 60,000.
     */
    silenceTimeoutMs?: number;
    /**
     * Whether to speak the protocol's extension if the server does. Other servers notice nothing
     * of it. Default true.
     */
    extension?: boolean;
    /**
     * Whether to keep the id over a lost connection, if the server does. Others are then not told
     * of a short loss. Default false: a new connection is a new id.
     */
    resume?: boolean;
    /**
     * Whether to get ICE servers for WebRTC from the server, if it has any. Default true, unless
     * `extension` is false.
     */
    ice?: boolean;
    /**
     * What the server asks for before it serves a client, 1 to 4,096 bytes of UTF-8. A function is
     * called before each dial, and shortly before a token expires. If it throws or rejects, the
     * dial counts as failed (`token-failed`). The token is in the first frame of a connection, or
     * in its upgrade to WebSocket: use `wss:`.
     */
    token?: string | (() => string | Promise<string>);
    /**
     * Limit of unsent bytes, over all topics. A message beyond it is refused with `buffer-full`,
     * unless there are no unsent bytes. Default 1,048,576.
     */
    maxBufferedAmount?: number;
    /** Subprotocols to offer; a waddell server knows `waddell` and needs none. Default none. */
    protocols?: string | string[];
    /** Constructor to use, such as that of the `ws` package. Default `globalThis.WebSocket`. */
    WebSocket?: WebSocketConstructor;
    /** Closes the client when aborted, connected or not. */
    signal?: AbortSignal;
}

/** Options of {@link Topic.sendChecked}. */
export interface SendOptions {
    /** Stops waiting for the outcome when aborted, or sending if it is aborted already. */
    signal?: AbortSignal;
}

/**
 * How far a message has come. `"forwarded"`: the server has put it into the recipient's outbox.
 * `"sent"`: the server has handled it, and does not tell more. No server knows whether a peer has
 * received it.
 */
export type Delivery = "forwarded" | "sent";

/**
 * State of a peer. `"away"`: its connection is lost, and it may come back under the same id.
 * `"gone"`: no peer has this id.
 */
export type PeerState = "here" | "away" | "gone";

/**
 * Why the server did not resume an id. `expired`: it was lost for too long. `not-ours`: another
 * server gave it, or the server has restarted without a key. `stale`: it was resumed since.
 * `contested`: too many connections claim it. `other-subject`: it belongs to other credentials.
 * `off`: the server resumes no id.
 */
export type NotResumed =
    | "contested"
    | "expired"
    | "not-ours"
    | "off"
    | "other-subject"
    | "stale";

/** The parts of the protocol's extension, and whether the server grants them. */
export interface Extension {
    /** The server tells which messages it dropped. */
    readonly verdicts: boolean;
    /** The server tells what becomes of other peers. */
    readonly peers: boolean;
    /** The client can keep its id when it connects again. */
    readonly resume: boolean;
    /** The server tells before it restarts. */
    readonly restart: boolean;
    /** The server has ICE servers for WebRTC. */
    readonly ice: boolean;
    /** The client can get a new id. */
    readonly renew: boolean;
    /** The client can renew its credentials. */
    readonly auth: boolean;
}

/** Constructor of WebSockets: the browser's, or that of Node's `ws` package. */
export type WebSocketConstructor = new (
    url: string,
    protocols: string | string[],
    ...rest: never[]
) => object;

/**
 * `"connecting"`: dialing, or waiting for the greeting. `"open"`: has an id and can send.
 * `"waiting"`: waiting to dial again. `"closed"`: closed for good.
 */
export type ClientState = "connecting" | "open" | "waiting" | "closed";

/** A message from the server. */
export interface Message {
    /** The sender's peer id, stamped by the server. */
    from: string;
    /** The number of its topic. */
    topic: number;
    /** The body. */
    body: Bytes;
}

/** `Uint8Array<ArrayBuffer>`; plain `Uint8Array` before TypeScript 5.7. */
export type Bytes = ReturnType<Uint8ArrayConstructor["of"]>;

/** Bytes; a string is sent as UTF-8. */
export type BodyPart = string | ArrayBufferLike | ArrayBufferView;

/** A message's body: one part, or several that are joined. */
export type Body = BodyPart | readonly BodyPart[];

/**
 * Why the server dropped a message. `unknown-recipient`: no peer has this id. `recipient-away`: the
 * peer has lost its connection, and may come back. `recipient-full`: the peer does not read fast
 * enough. `server-full`: the server has no memory for more messages. `not-delivered`: the server
 * does not say why, or dropped only some of the messages that it means.
 */
export type UndeliveredCode =
    | "not-delivered"
    | "recipient-away"
    | "recipient-full"
    | "server-full"
    | "unknown-recipient";

/** Codes of the errors. */
export type ErrorCode =
    | UndeliveredCode
    | "aborted"
    | "body-too-long"
    | "buffer-full"
    | "closed"
    | "connect-failed"
    | "connection-lost"
    | "dial-failed"
    | "illegal-constructor"
    | "invalid-body"
    | "invalid-option"
    | "invalid-peer-id"
    | "invalid-topic"
    | "invalid-url"
    | "load-failed"
    | "no-websocket"
    | "not-connected"
    | "not-handled"
    | "not-supported"
    | "recipient-lost"
    | "refused"
    | "rotated"
    | "server-misbehaved"
    | "superseded"
    | "timed-out"
    | "token-expired"
    | "token-failed"
    | "too-many-watched"
    | "too-soon"
    | "unauthorized"
    | "websocket-refused";

/** The events of a {@link Client}. */
export interface ClientEventMap {
    /**
     * The client has an id, as after every successful dial, or another id on the same connection.
     * `resumed`: it is the id of the connection before. `previous` is the id before; `null` if
     * there was none. `why` says why the server did not resume; `null` if it did, or if the client
     * had not asked for that.
     */
    id: CustomEvent<{
        id: string;
        resumed: boolean;
        previous: string | null;
        why: NotResumed | null;
    }>;
    /** `client.state` has changed. */
    state: CustomEvent<{ state: ClientState }>;
    /** The server has told which parts of the extension it grants. */
    extension: CustomEvent<{ extension: Extension }>;
    /**
     * The server dropped `count` messages to the peer `to` on one topic. If `exact` is false,
     * `to` and `topic` are `null`: the server only counted what it dropped.
     */
    undelivered: CustomEvent<{
        to: string | null;
        topic: number | null;
        reason: UndeliveredCode;
        count: number;
        exact: boolean;
    }>;
    /**
     * The state of a peer that is watched or was written to. The last `lost` messages to it that
     * the server had accepted were not passed on: its connection broke.
     */
    peer: CustomEvent<{ id: string; state: PeerState; lost: number }>;
    /**
     * The server will end this connection in `inMs` milliseconds, because it restarts. The client
     * dials again by itself, at most `waitMs` after that.
     */
    restart: CustomEvent<{ inMs: number; waitMs: number }>;
    /**
     * A dial has failed, or the connection is lost (`dial-failed`, `connection-lost`, `timed-out`,
     * `server-misbehaved`; `token-failed`: the function has no token; `superseded`: another
     * connection has taken over the id; `rotated`: to get a new id). The client dials again in
     * `retryInMs` milliseconds.
     */
    error: CustomEvent<{ code: ErrorCode; error: WaddellError; retryInMs: number }>;
    /**
     * The client is closed for good. `code` is `closed` and `error` is `null` if the
     * application closed it.
     */
    close: CustomEvent<{ code: ErrorCode; error: WaddellError | null }>;
}

/** The events of a {@link Topic}. */
export interface TopicEventMap {
    /** A message has arrived. */
    message: CustomEvent<Message>;
}
