// limit: the least that a fan-out can cost. It writes ready-made WebSocket frames to n clients, the same bytes with the same
// number of writes as a server under test would, and computes nothing: one write per client and tick.
// Build: make (in this folder). It speaks enough of graphql-transport-ws for `load`: handshake, connection_init → ack, subscribe.
// Each message has the tick's CLOCK_REALTIME in "sent_ns", so latency is measured as it is through a server.
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/timerfd.h>
#include <time.h>
#include <unistd.h>
typedef int64_t i64; typedef uint64_t u64; typedef uint32_t u32; typedef uint8_t u8;

enum { NS_DIGITS=19, FRAMES_MAX=4096 };
static int o_port=14000, o_ctl_port=0, o_size=230, o_batch_ms=20;
static double rate=0;   // messages per second and client
static i64 events, skipped, ticks;

static i64 now_ns(void){ struct timespec t; clock_gettime(CLOCK_REALTIME,&t); return t.tv_sec*1000000000LL+t.tv_nsec; }
static void die(const char*what){ perror(what); exit(1); }

// ---- SHA-1 and base64, for Sec-WebSocket-Accept

static u32 rol(u32 x,int n){ return x<<n|x>>(32-n); }
static void sha1_block(u32 h[5],const u8*p){
  u32 w[80]; for(int i=0;i<16;i++) w[i]=(u32)p[4*i]<<24|p[4*i+1]<<16|p[4*i+2]<<8|p[4*i+3];
  for(int i=16;i<80;i++) w[i]=rol(w[i-3]^w[i-8]^w[i-14]^w[i-16],1);
  u32 a=h[0],b=h[1],c=h[2],d=h[3],e=h[4];
  for(int i=0;i<80;i++){
    u32 f,k;
    if(i<20){ f=(b&c)|(~b&d); k=0x5A827999; } else if(i<40){ f=b^c^d; k=0x6ED9EBA1; }
    else if(i<60){ f=(b&c)|(b&d)|(c&d); k=0x8F1BBCDC; } else { f=b^c^d; k=0xCA62C1D6; }
    u32 t=rol(a,5)+f+e+k+w[i]; e=d; d=c; c=rol(b,30); b=a; a=t; }
  h[0]+=a; h[1]+=b; h[2]+=c; h[3]+=d; h[4]+=e;
}
static void sha1(const u8*p,size_t n,u8 out[20]){
  u32 h[5]={0x67452301,0xEFCDAB89,0x98BADCFE,0x10325476,0xC3D2E1F0}; u8 last[128]={0}; size_t whole=n/64*64, rest=n-whole;
  for(size_t i=0;i<whole;i+=64) sha1_block(h,p+i);
  memcpy(last,p+whole,rest); last[rest]=0x80; size_t m=rest<56?64:128; for(int i=0;i<8;i++) last[m-1-i]=(u64)n*8>>(8*i);
  for(size_t i=0;i<m;i+=64) sha1_block(h,last+i);
  for(int i=0;i<20;i++) out[i]=h[i/4]>>(24-8*(i%4));
}
static void base64(const u8*p,int n,char*out){
  static const char d[]="ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
  for(int i=0;i<n;i+=3){ u32 v=(u32)p[i]<<16|(i+1<n?p[i+1]<<8:0)|(i+2<n?p[i+2]:0); *out++=d[v>>18]; *out++=d[v>>12&63]; *out++=i+1<n?d[v>>6&63]:'='; *out++=i+2<n?d[v&63]:'='; }
  *out=0;
}

// ---- clients

typedef struct client { int fd, ctl, upgraded, subscribed, closing, wants_out; char in[65536]; size_t in_len; char*late; size_t late_len, late_off; struct client*next; } client;
static client*clients; static int ep;

static void want_out(client*c,int on){ if(c->wants_out==on) return; c->wants_out=on; struct epoll_event e={.events=EPOLLIN|(on?EPOLLOUT:0),.data.ptr=c}; epoll_ctl(ep,EPOLL_CTL_MOD,c->fd,&e); }
static void flush_late(client*c){
  while(c->late_off<c->late_len){ ssize_t n=send(c->fd,c->late+c->late_off,c->late_len-c->late_off,MSG_NOSIGNAL); if(n<0){ if(errno==EINTR) continue; if(errno!=EAGAIN) c->closing=1; want_out(c,1); return; } c->late_off+=n; }
  c->late_len=c->late_off=0; want_out(c,0);
}
static void write_to(client*c,const void*p,size_t n){
  ssize_t k=0; if(!c->late_len){ k=send(c->fd,p,n,MSG_NOSIGNAL); if(k<0){ if(errno!=EAGAIN&&errno!=EINTR){ c->closing=1; return; } k=0; } }
  if((size_t)k<n){ c->late=realloc(c->late,c->late_len+n-k); memcpy(c->late+c->late_len,(const char*)p+k,n-k); c->late_len+=n-k; want_out(c,1); }
}
static size_t frame(char*out,const char*p,size_t n){
  size_t h=0; out[h++]=(char)0x81; if(n<126) out[h++]=n; else if(n<65536){ out[h++]=126; out[h++]=n>>8; out[h++]=n; } else { out[h++]=127; for(int i=7;i>=0;i--) out[h++]=(u64)n>>(8*i); }
  memcpy(out+h,p,n); return h+n;
}
static void say(client*c,const char*text){ char out[512]; write_to(c,out,frame(out,text,strlen(text))); }

// ---- the messages of a tick: one frame, repeated, its sent_ns written anew

static char*one; static size_t one_len, ns_at; static char*tick_bytes;
static void make_message(void){
  static const char head[]="{\"id\":\"1\",\"type\":\"next\",\"payload\":{\"data\":{\"trades_changes\":{\"phase\":\"live\",\"changes\":[{\"operation\":\"update\",\"row\":{\"sent_ns\":";
  static const char mid[]=",\"pad\":\"", tail[]="\"}}]}}}}"; size_t fixed=strlen(head)+NS_DIGITS+strlen(mid)+strlen(tail); size_t size=(size_t)o_size>fixed?o_size:fixed, n=0;
  char*m=malloc(size+1); n+=sprintf(m,"%s",head); ns_at=n; n+=sprintf(m+n,"%019d",0); n+=sprintf(m+n,"%s",mid); while(n+strlen(tail)<size) m[n++]='x'; n+=sprintf(m+n,"%s",tail);
  one=malloc(n+16); one_len=frame(one,m,n); ns_at+=one_len-n; free(m); tick_bytes=malloc(one_len*FRAMES_MAX);
}
static void tick(double elapsed){
  static double due; due+=rate*elapsed+1e-9; u32 n=(u32)due; due-=n; if(n>FRAMES_MAX){ skipped+=n-FRAMES_MAX; n=FRAMES_MAX; } if(!n) return;
  char ns[24]; snprintf(ns,24,"%019lld",(long long)now_ns()); memcpy(one+ns_at,ns,NS_DIGITS); for(u32 i=0;i<n;i++) memcpy(tick_bytes+i*one_len,one,one_len);
  events+=n; ticks++; for(client*c=clients;c;c=c->next) if(c->subscribed) write_to(c,tick_bytes,one_len*n);
}

// ---- what clients say

static int upgrade(client*c){   // 1 when the request was complete
  c->in[c->in_len]=0; char*end=strstr(c->in,"\r\n\r\n"); if(!end) return 0;
  char*key=strcasestr(c->in,"\r\nSec-WebSocket-Key:"); if(!key||key>end){ c->closing=1; return 0; }
  key+=20; while(*key==' ') key++; char text[128],accept[64],reply[256]; u8 hash[20]; snprintf(text,128,"%.*s258EAFA5-E914-47DA-95CA-C5AB0DC85B11",(int)strcspn(key,"\r\n "),key);
  sha1((u8*)text,strlen(text),hash); base64(hash,20,accept);
  int n=snprintf(reply,256,"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: %s\r\nSec-WebSocket-Protocol: graphql-transport-ws\r\n\r\n",accept);
  write_to(c,reply,n); size_t used=end+4-c->in; memmove(c->in,c->in+used,c->in_len-used); c->in_len-=used; return c->upgraded=1;
}
static int one_frame(client*c){   // 1 when a whole frame was taken
  u8*p=(u8*)c->in; if(c->in_len<2) return 0; size_t n=p[1]&127,h=2; if(n==126){ if(c->in_len<4) return 0; n=p[2]<<8|p[3]; h=4; } else if(n==127){ c->closing=1; return 0; }
  u8*mask=p+h; if(!(p[1]&128)){ c->closing=1; return 0; } h+=4; if(c->in_len<h+n) return 0;
  u8*d=p+h; for(size_t i=0;i<n;i++) d[i]^=mask[i&3];
  if((p[0]&15)==8) c->closing=1;
  else if(memmem(d,n,"\"connection_init\"",17)) say(c,"{\"type\":\"connection_ack\"}");
  else if(memmem(d,n,"\"subscribe\"",11)) c->subscribed=1;
  else if(memmem(d,n,"\"complete\"",10)) c->subscribed=0;
  else if(memmem(d,n,"\"ping\"",6)) say(c,"{\"type\":\"pong\"}");
  memmove(c->in,c->in+h+n,c->in_len-h-n); c->in_len-=h+n; return 1;
}
static void command(client*c,char*l){
  char r[512]="ok\n"; double v; struct rusage u; getrusage(RUSAGE_SELF,&u);
  if(sscanf(l,"rate %lf",&v)==1) rate=v;
  else if(!strncmp(l,"stats",5)){ int n=0; i64 q=0; for(client*k=clients;k;k=k->next) if(!k->ctl){ n+=k->subscribed; q+=k->late_len-k->late_off; }
    snprintf(r,512,"{\"events\":%lld,\"ticks\":%lld,\"subs\":%d,\"queued_bytes\":%lld,\"skipped\":%lld,\"message_bytes\":%d,\"cpu_s\":%.3f}\n",(long long)events,(long long)ticks,n,(long long)q,(long long)skipped,o_size,u.ru_utime.tv_sec+u.ru_stime.tv_sec+(u.ru_utime.tv_usec+u.ru_stime.tv_usec)/1e6); }
  else if(!strncmp(l,"quit",4)) exit(0);
  else snprintf(r,512,"err unknown command\n");
  write_to(c,r,strlen(r));
}
static void readable(client*c){
  ssize_t n=recv(c->fd,c->in+c->in_len,sizeof c->in-1-c->in_len,0); if(n<=0){ if(n==0||(errno!=EAGAIN&&errno!=EINTR)) c->closing=1; return; } c->in_len+=n;
  if(c->ctl){ char*nl; while((nl=memchr(c->in,'\n',c->in_len))){ *nl=0; command(c,c->in); size_t k=nl+1-c->in; memmove(c->in,nl+1,c->in_len-k); c->in_len-=k; } }
  else if(c->upgraded||upgrade(c)) while(!c->closing&&one_frame(c)){}
  if(c->in_len==sizeof c->in-1) c->closing=1;
}

static int listen_on(int port,int tag){
  int f=socket(AF_INET,SOCK_STREAM|SOCK_NONBLOCK|SOCK_CLOEXEC,0),on=1; setsockopt(f,SOL_SOCKET,SO_REUSEADDR,&on,sizeof on);
  struct sockaddr_in a={.sin_family=AF_INET,.sin_port=htons(port),.sin_addr.s_addr=htonl(INADDR_LOOPBACK)}; if(bind(f,(void*)&a,sizeof a)||listen(f,1024)) die("limit: listen");
  struct epoll_event e={.events=EPOLLIN,.data.ptr=(void*)(intptr_t)tag}; epoll_ctl(ep,EPOLL_CTL_ADD,f,&e); return f;
}
static void usage(void){ puts("limit --port 14000 --ctl-port 14001 --size 230 (bytes of a message, without its frame header) --rate 0 (messages per second and client) --batch-ms 20 (a tick: one write per client)\n"
  "control port, one command per line: rate R | stats | quit"); exit(0); }
int main(int ac,char**av){
  for(int i=1;i<ac;i++){
    char*a=av[i]; double*d=0; int*n=!strcmp(a,"--port")?&o_port:!strcmp(a,"--ctl-port")?&o_ctl_port:!strcmp(a,"--size")?&o_size:!strcmp(a,"--batch-ms")?&o_batch_ms:0; if(!strcmp(a,"--rate")) d=&rate;
    if((!n&&!d)||i+1==ac) usage(); if(n) *n=atoi(av[++i]); else *d=atof(av[++i]); }
  if(!o_ctl_port) o_ctl_port=o_port+1; if(o_batch_ms<1) o_batch_ms=1; signal(SIGPIPE,SIG_IGN); struct rlimit rl={1<<16,1<<16}; setrlimit(RLIMIT_NOFILE,&rl);
  make_message(); ep=epoll_create1(EPOLL_CLOEXEC); int lf=listen_on(o_port,1),cf=listen_on(o_ctl_port,2),tf=timerfd_create(CLOCK_MONOTONIC,TFD_NONBLOCK|TFD_CLOEXEC);
  struct timespec every={o_batch_ms/1000,o_batch_ms%1000*1000000L}; struct itimerspec s={every,every}; timerfd_settime(tf,0,&s,0); struct epoll_event e={.events=EPOLLIN,.data.ptr=(void*)3}; epoll_ctl(ep,EPOLL_CTL_ADD,tf,&e);
  for(;;){
    struct epoll_event ev[256]; int n=epoll_wait(ep,ev,256,-1);
    for(int i=0;i<n;i++){
      intptr_t tag=(intptr_t)ev[i].data.ptr;
      if(tag==3){ u64 expired=0; if(read(tf,&expired,8)>0) tick(expired*o_batch_ms/1000.0); continue; }
      if(tag==1||tag==2){ int f; while((f=accept4(tag==1?lf:cf,0,0,SOCK_NONBLOCK|SOCK_CLOEXEC))>=0){ int on=1; setsockopt(f,IPPROTO_TCP,TCP_NODELAY,&on,sizeof on); client*c=calloc(1,sizeof*c); c->fd=f; c->ctl=tag==2; c->next=clients; clients=c; struct epoll_event q={.events=EPOLLIN,.data.ptr=c}; epoll_ctl(ep,EPOLL_CTL_ADD,f,&q); } continue; }
      client*c=ev[i].data.ptr; if(c->closing) continue;
      if(ev[i].events&(EPOLLIN|EPOLLHUP|EPOLLERR)) readable(c);
      if((ev[i].events&EPOLLOUT)&&!c->closing) flush_late(c);
    }
    for(client**pp=&clients;*pp;){ client*c=*pp; if(!c->closing){ pp=&c->next; continue; } *pp=c->next; close(c->fd); free(c->late); free(c); }
  }
}
