// load: graphql-transport-ws load client. Single thread, epoll; C connections, --ops subscriptions each. Prints one JSON object.
// Build: make (in this folder).
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <regex.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>
#include <dirent.h>
typedef int64_t i64; typedef uint64_t u64; typedef uint32_t u32; typedef uint8_t u8;
static i64 now_ns(void){ struct timespec t; clock_gettime(CLOCK_REALTIME,&t); return t.tv_sec*1000000000LL+t.tv_nsec; }
static void die(const char*m){ fprintf(stderr,"load: %s\n",m); exit(2); }

// ---- options
static char host[64]="127.0.0.1", path[256]="/graphql"; static int port=4000;
static int o_clients=1, o_wave1=1, o_mod=1<<30, o_stall=0, o_stall_sub=0, o_timeline=0, o_rcvbuf=0; static i64 o_snaprows=-1;
static double o_duration=10, o_warmup=3, o_ready_timeout=60, o_quiet_ms=300, o_ramp=0, o_drain=5, o_stall_at=0, o_hold=0, o_wave2_delay=0;
static const char*o_query="subscription { trades { operation data { id symbol side price qty executed_at sent_ns } fields } }", *o_vars="{}", *o_init="", *o_header="", *o_proto="graphql-transport-ws";
static const char*o_nskey="sent_ns", *o_rowkey=0, *o_regex=0, *o_ctl=0, *o_ready_cmd=0, *o_end_cmd="rate 0", *o_window_cmd=0; static int o_digits=0, o_nosub=0, o_dump=0; static i64 o_row_mult=1;
static char nspat[128], rowpat[128]; static size_t nslen,rowlen; static regex_t re;
static int pids[64], npid; static int o_tree=0, o_ops=1, o_serial=0, o_all_first=0; static int serial_at; static i64 serial_t;

// ---- histogram: log-linear over ns, 64 sub-buckets per power of two (<1.6% error)
#define HB (64*48)
typedef struct { u64 n; double sum; i64 max; u32 b[HB]; } hist;
static int hidx(i64 v){ if(v<64) return v<0?0:(int)v; int e=63-__builtin_clzll((u64)v); int i=(e-5)*64+(int)((v>>(e-6))&63); return i<HB?i:HB-1; }
static i64 hval(int i){ if(i<64) return i; int e=i/64+5, m=i%64; return ((i64)(64+m))<<(e-6); }
static void hadd(hist*h,i64 v){ h->n++; h->sum+=v; if(v>h->max)h->max=v; h->b[hidx(v)]++; }
static double hq(hist*h,double q){ if(!h->n) return -1; u64 t=(u64)(q*(h->n-1))+1,c=0; for(int i=0;i<HB;i++){ c+=h->b[i]; if(c>=t) return hval(i)/1e6; } return h->max/1e6; }

enum { S_IDLE,S_CONN,S_HTTP,S_INIT,S_SUB,S_DEAD };
typedef struct { int fd,st,idx,wave,stalled,close_code; char*buf; size_t len,off,cap; char*frag; size_t fraglen; char*out; size_t outlen,outoff; u8*seen; int nseen; i64 t_conn,t_sub,t_first,t_last,t_snap,msgs,rows,bytes,wmsgs,wrows; } cl;
static cl*C; static int ep; static hist H,HF,HS[3600];
static i64 T0; // process start
static i64 msgs,rows,bytes,rawbytes,wmsgs,wrows,wbytes,maxmsg,staleskip,nullns; static int nconn,nsub,nacked,ndead,nerr,ncomplete; static char errsample[512], closesample[128]; static i64 first_dead,lastmsg; static int in_window,draining; static i64 win0,win1;
static i64 tl_msgs[3600],tl_rows[3600],tl_rss[3600]; static double tl_cpu[3600]; static int tl_n;
static i64 now; static size_t read_max=1<<20;

// ---- /proc sampling of the server
static i64 rss_kb(int pid){ char p[64],b[256]; snprintf(p,64,"/proc/%d/statm",pid); FILE*f=fopen(p,"r"); if(!f) return -1; i64 a=0,r=0; if(fgets(b,256,f)) sscanf(b,"%ld %ld",&a,&r); fclose(f); return r*4; }
static double cpu_s(int pid,double*u,double*s){ char p[64],b[1024]; snprintf(p,64,"/proc/%d/stat",pid); FILE*f=fopen(p,"r"); if(!f) return -1; size_t n=fread(b,1,1023,f); fclose(f); b[n]=0; char*q=strrchr(b,')'); if(!q) return -1; unsigned long ut=0,st=0; sscanf(q+2,"%*c %*d %*d %*d %*d %*d %*u %*u %*u %*u %*u %lu %lu",&ut,&st); if(u)*u=ut/100.0; if(s)*s=st/100.0; return (ut+st)/100.0; }
static double sched_s(int pid){ char p[64]; snprintf(p,64,"/proc/%d/task",pid); DIR*d=opendir(p); if(!d) return -1; struct dirent*e; double t=0; while((e=readdir(d))) if(isdigit((u8)e->d_name[0])){ char q[400],b[128]; snprintf(q,400,"%s/%s/schedstat",p,e->d_name); FILE*f=fopen(q,"r"); if(f){ u64 v=0; if(fgets(b,128,f)) sscanf(b,"%lu",&v); t+=v/1e9; fclose(f);} } closedir(d); return t; }
static void expand_tree(void){ // add children of the given pids (multi-process servers)
  for(int k=0;k<npid;k++){ char p[96],b[2048]; snprintf(p,96,"/proc/%d/task/%d/children",pids[k],pids[k]); FILE*f=fopen(p,"r"); if(!f) continue; size_t n=fread(b,1,2047,f); b[n]=0; fclose(f); for(char*t=strtok(b," \n");t;t=strtok(0," \n")){ int c=atoi(t),dup=0; for(int j=0;j<npid;j++) if(pids[j]==c)dup=1; if(!dup&&npid<64)pids[npid++]=c; } } }
static i64 sum_rss(void){ i64 t=0; int ok=0; for(int i=0;i<npid;i++){ i64 r=rss_kb(pids[i]); if(r>=0){ t+=r; ok=1; } } return ok?t:-1; }
static double sum_cpu(double*u,double*s){ double t=0; *u=*s=0; int ok=0; for(int i=0;i<npid;i++){ double a=0,b=0; double r=cpu_s(pids[i],&a,&b); if(r>=0){ t+=r; *u+=a; *s+=b; ok=1; } } return ok?t:-1; }
static double sum_sched(void){ double t=0; for(int i=0;i<npid;i++){ double r=sched_s(pids[i]); if(r>0)t+=r; } return t; }
static void core_busy(double*o){ for(int i=0;i<6;i++)o[i]=0; FILE*f=fopen("/proc/stat","r"); if(!f) return; char b[512]; while(fgets(b,512,f)){ unsigned long u,n,s,id,io,ir,so,st; int c; if(sscanf(b,"cpu%d %lu %lu %lu %lu %lu %lu %lu %lu",&c,&u,&n,&s,&id,&io,&ir,&so,&st)==9&&c<2){ o[c]=(u+s+ir+so)/100.0; o[2+c]=st/100.0; o[4+c]=n/100.0; } } fclose(f); }

// ---- control connection to fakemz (blocking, one line request, one line reply)
static void ctl(const char*cmd,char*reply,size_t rn){ if(reply)reply[0]=0; if(!o_ctl||!cmd||!*cmd) return; char h[64]; int p; if(sscanf(o_ctl,"%63[^:]:%d",h,&p)!=2) return; int f=socket(AF_INET,SOCK_STREAM,0); struct sockaddr_in a={.sin_family=AF_INET,.sin_port=htons(p)}; inet_pton(AF_INET,h,&a.sin_addr); struct timeval tv={3,0}; setsockopt(f,SOL_SOCKET,SO_RCVTIMEO,&tv,sizeof tv); if(connect(f,(void*)&a,sizeof a)){ close(f); return; }
  char tmp[512]; snprintf(tmp,512,"%s",cmd); for(char*t=strtok(tmp,";");t;t=strtok(0,";")){ char l[512]; int n=snprintf(l,512,"%s\n",t); if(write(f,l,n)<0)break; char r[1024]; ssize_t k=read(f,r,1023); if(k>0&&reply){ r[k]=0; snprintf(reply,rn,"%s",r); } } close(f); }

// ---- sending
static void wantout(cl*c,int on){ struct epoll_event e={.events=EPOLLIN|(on?EPOLLOUT:0),.data.u32=c->idx}; epoll_ctl(ep,EPOLL_CTL_MOD,c->fd,&e); }
static void dead(cl*c){ if(c->st==S_DEAD) return; if(c->st>=S_SUB) nsub--; if(c->st>S_CONN) nconn--; c->st=S_DEAD; ndead++; if(!first_dead) first_dead=now_ns(); close(c->fd); c->fd=-1; }
static void oflush(cl*c){ while(c->outoff<c->outlen){ ssize_t n=send(c->fd,c->out+c->outoff,c->outlen-c->outoff,MSG_NOSIGNAL); if(n<0){ if(errno==EINTR)continue; if(errno==EAGAIN){ wantout(c,1); return; } dead(c); return; } c->outoff+=n; } c->outoff=c->outlen=0; }
static void raw(cl*c,const void*d,size_t n){ c->out=realloc(c->out,c->outlen+n); memcpy(c->out+c->outlen,d,n); c->outlen+=n; oflush(c); }
static void wsframe(cl*c,int op,const char*d,size_t n){ u8 h[14]; int k=0; h[k++]=0x80|op; if(n<126) h[k++]=0x80|n; else if(n<65536){ h[k++]=0x80|126; h[k++]=n>>8; h[k++]=n; } else { h[k++]=0x80|127; for(int i=7;i>=0;i--)h[k++]=(u64)n>>(8*i); } memset(h+k,0,4); k+=4; char*m=malloc(k+n); memcpy(m,h,k); memcpy(m+k,d,n); raw(c,m,k+n); free(m); }
// {i} is the operation's index over all clients, modulo --mod; {n} is one more; {cursor} the client's, quoted, or null
static int cursor_of(int client,char*o), is_slow(cl*c); static hist*slow_hist(void); static void look(cl*c,const char*m,size_t n);
static char* subst(const char*s,int i){ size_t cap=strlen(s)+64,n=0; char*o=malloc(cap*2); char v[3][512]; int vn[3]={snprintf(v[0],16,"%d",i%o_mod),snprintf(v[1],16,"%d",i%o_mod+1),cursor_of(i/o_ops,v[2])};
  while(*s){ int w=!strncmp(s,"{i}",3)?0:!strncmp(s,"{n}",3)?1:!strncmp(s,"{cursor}",8)?2:-1; if(w>=0){ if(n+vn[w]+32>cap*2){ cap=n+vn[w]+32; o=realloc(o,cap*2); } memcpy(o+n,v[w],vn[w]); n+=vn[w]; s+=w==2?8:3; } else o[n++]=*s++; if(n+32>cap){ cap*=2; o=realloc(o,cap*2); } } o[n]=0; return o; }
static char* jesc(const char*s){ char*o=malloc(strlen(s)*2+1),*p=o; for(;*s;s++){ if(*s=='"'||*s=='\\')*p++='\\'; if(*s=='\n'){ *p++='\\';*p++='n'; continue;} *p++=*s; } *p=0; return o; }
static void send_subscribe(cl*c,const char*id,int index){ char*q=subst(o_query,index),*e=jesc(q),*v=subst(o_vars,index); size_t n=strlen(e)+strlen(v)+160; char*m=malloc(n); int k=snprintf(m,n,"{\"id\":\"%s\",\"type\":\"subscribe\",\"payload\":{\"query\":\"%s\",\"variables\":%s}}",id,e,v); wsframe(c,1,m,k); free(q);free(e);free(v);free(m); }
static void subscribe(cl*c){ c->t_sub=now_ns(); c->st=S_SUB; nsub++; nacked++;
  for(int k=0;k<o_ops&&c->st!=S_DEAD;k++){ char id[16]; snprintf(id,16,"%d",k+1); send_subscribe(c,id,c->idx*o_ops+k); }
  if(c->idx>=o_clients-o_stall_sub&&c->st!=S_DEAD){ c->stalled=1; epoll_ctl(ep,EPOLL_CTL_DEL,c->fd,0); } }
// --serial N: on the first connection, one operation after another: subscribe, first message, complete
static void serial_next(cl*c){ char id[16]; if(serial_at){ char m[64]; int k=snprintf(m,64,"{\"id\":\"s%d\",\"type\":\"complete\"}",serial_at); wsframe(c,1,m,k); } if(++serial_at>o_serial||c->st==S_DEAD) return; snprintf(id,16,"s%d",serial_at); serial_t=now_ns(); send_subscribe(c,id,serial_at-1); }

// ---- receiving
static inline void rowlat(cl*c,i64 ns){ if(ns<c->t_sub){ staleskip++; return; } i64 l=now-ns; if(l<0)l=0; if(in_window){ hadd(is_slow(c)?slow_hist():&H,l); } int s=tl_n; if(s<3600&&o_timeline&&!c->stalled) hadd(&HS[s],l); }
static int typ(const char*m,size_t n){ const char*t=memmem(m,n<96?n:96,"\"type\":",7); if(!t&&n>96) t=memmem(m,n,"\"type\":",7); if(!t) return '?'; t+=7; while(t<m+n&&(*t==' '||*t=='"'))t++; size_t r=m+n-t; if(r<4) return '?'; if(!memcmp(t,"next",4)||!memcmp(t,"data",4)) return 'n'; if(!memcmp(t,"connection_ack",r<14?r:14)) return 'a'; if(!memcmp(t,"ping",4)) return 'p'; if(!memcmp(t,"pong",4)||!memcmp(t,"ka",2)) return 'o'; if(!memcmp(t,"error",r<5?r:5)) return 'e'; if(!memcmp(t,"comp",4)) return 'c'; return '?'; }
static void message(cl*c,char*m,size_t n){
  int t=typ(m,n); if(o_dump>0){ o_dump--; fprintf(stderr,"[%d] %.*s\n",c->idx,(int)(n>600?600:n),m); }
  if(t!='n'){ switch(t){ case 'a': if(c->st==S_INIT){ if(o_nosub){ c->st=S_SUB; c->t_sub=now; nsub++; nacked++; } else subscribe(c);} break; case 'p': wsframe(c,1,"{\"type\":\"pong\"}",15); break; case 'e': nerr++; if(!errsample[0]) snprintf(errsample,400,"%.*s",(int)(n>380?380:n),m); break; case 'c': ncomplete++; break; } return; }
  if(serial_at&&serial_at<=o_serial&&c->idx==0){ char id[32]; int k=snprintf(id,32,"\"s%d\"",serial_at); if(memmem(m,n<96?n:96,id,k)){ hadd(&HF,now_ns()-serial_t); serial_next(c); } }
  if(o_all_first&&c->nseen<o_ops){ const char*q=memmem(m,n<96?n:96,"\"id\":",5); if(q){ q+=5; while(q<m+n&&(*q==' '||*q=='"')) q++; int k=atoi(q); if(k>0&&k<=o_ops&&!c->seen[k-1]){ c->seen[k-1]=1; c->nseen++; } } }
  i64 nr=0; char*p=m,*e=m+n;
  if(o_regex){ char sv=m[n]; m[n]=0; regmatch_t g[2]; while(!regexec(&re,p,2,g,0)){ nr++; if(g[1].rm_so>=0) rowlat(c,atoll(p+g[1].rm_so)); p+=g[0].rm_eo>0?g[0].rm_eo:1; } m[n]=sv; }
  else if(o_digits){ while(p<e){ if(*p=='1'&&(p==m||!isdigit((u8)p[-1]))){ char*q=p; i64 v=0; while(q<e&&isdigit((u8)*q)){ v=v*10+(*q-'0'); q++; } if(q-p==o_digits){ nr++; rowlat(c,v);} p=q; } else p++; } }
  else while((p=memmem(p,e-p,nspat,nslen))){ p+=nslen; nr++; while(p<e&&(*p==' '||*p=='"'))p++; if(p<e&&isdigit((u8)*p)){ i64 v=0; while(p<e&&isdigit((u8)*p)) v=v*10+(*p++-'0'); rowlat(c,v); } else nullns++; }
  if(rowlen){ nr=0; p=m; while((p=memmem(p,e-p,rowpat,rowlen))){ nr++; p+=rowlen; } }
  nr*=o_row_mult; msgs++; rows+=nr; bytes+=n; if((i64)n>maxmsg)maxmsg=n; lastmsg=now; c->msgs++; if(!c->rows&&nr) c->t_first=now; c->rows+=nr; c->bytes+=n; c->t_last=now; if(o_snaprows>=0&&!c->t_snap&&c->rows>=o_snaprows) c->t_snap=now;
  look(c,m,n); if(in_window){ wmsgs++; wrows+=nr; wbytes+=n; c->wmsgs++; c->wrows+=nr; } if(tl_n<3600){ tl_msgs[tl_n]++; tl_rows[tl_n]+=nr; }
}
static void readable(cl*c){
  if(c->cap-c->len<65536){ size_t nc=c->cap?c->cap*2:131072; while(nc-c->len<65536)nc*=2; c->buf=realloc(c->buf,nc+1); c->cap=nc; }
  size_t room=c->cap-c->len; if(room>read_max) room=read_max; ssize_t n=recv(c->fd,c->buf+c->len,room,0); now=now_ns(); if(n<=0){ if(n<0&&(errno==EAGAIN||errno==EINTR)) return; dead(c); return; } c->len+=n; rawbytes+=n;
  if(c->st==S_HTTP){ c->buf[c->len]=0; char*e=strstr(c->buf,"\r\n\r\n"); if(!e) return; if(strncmp(c->buf,"HTTP/1.1 101",12)){ nerr++; if(!errsample[0]) snprintf(errsample,400,"%.300s",c->buf); dead(c); return; } c->off=e+4-c->buf; c->st=S_INIT; char m[1024]; int k=o_init[0]?snprintf(m,1024,"{\"type\":\"connection_init\",\"payload\":%s}",o_init):snprintf(m,1024,"{\"type\":\"connection_init\"}"); wsframe(c,1,m,k); }
  while(c->st!=S_DEAD){
    size_t h=c->len-c->off; if(h<2) break; u8*p=(u8*)c->buf+c->off; u64 L=p[1]&127; size_t k=2; if(L==126){ if(h<4)break; L=p[2]<<8|p[3]; k=4; } else if(L==127){ if(h<10)break; L=0; for(int i=0;i<8;i++)L=L<<8|p[2+i]; k=10; } if(h<k+L){ if(c->cap<c->off+k+L+65536&&c->off>0){ memmove(c->buf,c->buf+c->off,h); c->len=h; c->off=0; } if(c->cap<c->off+k+L+65536){ c->cap=c->off+k+L+131072; c->buf=realloc(c->buf,c->cap+1); } break; }
    int op=p[0]&15, fin=p[0]&128; char*d=(char*)p+k; c->off+=k+L;
    if(op==8){ c->close_code=L>=2?((u8)d[0]<<8|(u8)d[1]):1005; if(!closesample[0]) snprintf(closesample,128,"%d %.*s",c->close_code,(int)(L>2?(L-2>80?80:L-2):0),d+2); dead(c); return; }
    if(op==9){ wsframe(c,10,d,L); continue; } if(op==10) continue;
    if(!fin||op==0){ c->frag=realloc(c->frag,c->fraglen+L+1); memcpy(c->frag+c->fraglen,d,L); c->fraglen+=L; if(fin){ message(c,c->frag,c->fraglen); c->fraglen=0; } continue; }
    message(c,d,L);
  }
  if(c->st==S_DEAD) return; if(c->off==c->len) c->off=c->len=0; else if(c->off){ memmove(c->buf,c->buf+c->off,c->len-c->off); c->len-=c->off; c->off=0; }
  if(!c->len&&c->cap>(1u<<20)){ free(c->buf); c->buf=0; c->cap=0; }
}
static void start_client(cl*c){
  c->fd=socket(AF_INET,SOCK_STREAM|SOCK_NONBLOCK|SOCK_CLOEXEC,0); int one=1; setsockopt(c->fd,IPPROTO_TCP,TCP_NODELAY,&one,sizeof one); if(o_rcvbuf) setsockopt(c->fd,SOL_SOCKET,SO_RCVBUF,&o_rcvbuf,sizeof o_rcvbuf);
  struct sockaddr_in a={.sin_family=AF_INET,.sin_port=htons(port)}; inet_pton(AF_INET,host,&a.sin_addr); c->t_conn=now_ns(); c->st=S_CONN; int r=connect(c->fd,(void*)&a,sizeof a); struct epoll_event e={.events=EPOLLIN|EPOLLOUT,.data.u32=c->idx}; epoll_ctl(ep,EPOLL_CTL_ADD,c->fd,&e); if(r<0&&errno!=EINPROGRESS) dead(c);
}
#include "load_unsteady.h"
static void pump(int ms){
  struct epoll_event ev[256]; int n=epoll_wait(ep,ev,256,ms); now=now_ns();
  for(int i=0;i<n;i++){ cl*c=&C[ev[i].data.u32]; if(c->st==S_DEAD) continue;
    if(c->st==S_CONN&&(ev[i].events&(EPOLLOUT|EPOLLERR|EPOLLHUP))){ int er=0; socklen_t l=sizeof er; getsockopt(c->fd,SOL_SOCKET,SO_ERROR,&er,&l); if(er){ dead(c); continue; } c->st=S_HTTP; nconn++; wantout(c,0); char q[1024]; int k=snprintf(q,1024,"GET %s HTTP/1.1\r\nHost: %s:%d\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n%s%s%s%s%s\r\n",path,host,port,o_proto[0]?"Sec-WebSocket-Protocol: ":"",o_proto,o_proto[0]?"\r\n":"",o_header,o_header[0]?"\r\n":""); raw(c,q,k); continue; }
    if((ev[i].events&EPOLLOUT)&&c->outlen){ oflush(c); if(c->st!=S_DEAD&&!c->outlen) wantout(c,0); }
    if(c->st!=S_DEAD&&(ev[i].events&(EPOLLIN|EPOLLHUP|EPOLLERR))&&!c->stalled) readable(c);
  }
}
static i64 next_tl; static void tl_tick(void){ unsteady_tick(); while(now>=next_tl&&tl_n<3599){ double u,s; tl_rss[tl_n]=npid?sum_rss():0; tl_cpu[tl_n]=npid?sum_cpu(&u,&s):0; tl_n++; next_tl+=1000000000LL; } }
static int cmpd(const void*a,const void*b){ double x=*(double*)a,y=*(double*)b; return x<y?-1:x>y; }
static void pj(const char*k,const char*v){ printf("\"%s\":\"",k); for(;*v;v++){ if(*v=='"'||*v=='\\')putchar('\\'); if((u8)*v<32)putchar(' '); else putchar(*v);} printf("\","); }
static volatile sig_atomic_t stop_; static void onint(int s){ stop_=1; }
int main(int ac,char**av){
  for(int i=1;i<ac;i++){ char*a=av[i];
#define S(n,v) if(!strcmp(a,n)&&i+1<ac){ v=av[++i]; continue; }
#define I(n,v) if(!strcmp(a,n)&&i+1<ac){ v=atoll(av[++i]); continue; }
#define D(n,v) if(!strcmp(a,n)&&i+1<ac){ v=atof(av[++i]); continue; }
#define B(n,v) if(!strcmp(a,n)){ v=1; continue; }
    if(!strcmp(a,"--url")&&i+1<ac){ const char*u=av[++i]; path[0]='/';path[1]=0; if(sscanf(u,"ws://%63[^:/]:%d%255s",host,&port,path)<2) die("bad --url"); continue; }
    if(!strcmp(a,"--pid")&&i+1<ac){ char*t=strdup(av[++i]); for(char*x=strtok(t,",");x;x=strtok(0,",")) if(npid<64)pids[npid++]=atoi(x); continue; }
    I("--clients",o_clients) I("--ops",o_ops) I("--serial",o_serial) I("--wave1",o_wave1) I("--mod",o_mod) I("--stall",o_stall) I("--stall-sub",o_stall_sub) D("--stall-at",o_stall_at) I("--rcvbuf",o_rcvbuf) I("--snapshot-rows",o_snaprows) D("--duration",o_duration) D("--warmup",o_warmup) D("--ready-timeout",o_ready_timeout) D("--quiet-ms",o_quiet_ms) D("--ramp",o_ramp) D("--drain",o_drain) D("--hold",o_hold) D("--wave2-delay",o_wave2_delay)
    S("--query",o_query) S("--vars",o_vars) S("--init-payload",o_init) S("--header",o_header) S("--subprotocol",o_proto) S("--ns-key",o_nskey) S("--row-key",o_rowkey) S("--ns-regex",o_regex) I("--ns-digits",o_digits) I("--row-mult",o_row_mult) S("--ctl",o_ctl) S("--ready-cmd",o_ready_cmd) S("--end-cmd",o_end_cmd) S("--window-cmd",o_window_cmd) B("--no-subscribe",o_nosub) B("--timeline",o_timeline) B("--tree",o_tree) B("--all-first",o_all_first) I("--slow",o_slow) I("--slow-bps",o_slow_bps) I("--slow-rcvbuf",o_slow_rcvbuf) D("--cut-rate",o_cut_rate) D("--cut-gap-ms",o_cut_gap_ms) S("--seq-key",o_seqkey) I("--seq-rows",o_seq_rows) I("--dump",o_dump)
    puts("load --url ws://127.0.0.1:4000/graphql --clients N --query Q --vars JSON ({i} in both = operation index modulo --mod M, {n} = one more) [--subprotocol graphql-transport-ws] [--init-payload JSON] [--header 'K: v']\n"
     "  --wave1 K        connect K clients first, wait until their data is quiet, then the others (default 1: fills the server's cache once)\n"
     "  --snapshot-rows N  note when each client has N rows\n  --warmup S --duration S --drain S   --quiet-ms MS (no message for that long = ready) --ready-timeout S --ramp CONN_PER_S --hold S (idle before the window)\n"
     "  --ctl 127.0.0.1:6876 --ready-cmd 'rate 1000' --end-cmd 'rate 0'   commands for fakemz, ; between several\n"
     "  --ns-key sent_ns (finds \"KEY\": digits) | --ns-digits 19 (any number of exactly that many digits starting with 1) | --ns-regex 'POSIX ERE with one group'; --row-key TEXT counts rows by that literal; --row-mult N\n"
     "  --stall K --stall-at S   the last K clients stop reading S seconds into the run; --stall-sub K  the last K stop reading right after subscribing; --rcvbuf BYTES\n  --pid P[,P] --tree   sample CPU and RSS of the server (and children)\n  --ops N  subscriptions per connection (ids 1…N)   --all-first  ready only when each has had a message\n  --serial N  then N more on the first connection, one after another: subscribe to first message\n"
     "  --slow K  the last K clients read --slow-bps BYTES a second once all are ready, with a receive buffer of --slow-rcvbuf\n  --cut-rate R  so many of the others a second are cut off and come back after --cut-gap-ms MS (--vars '{\"after\":{cursor}}')\n  --seq-key KEY --seq-rows N  numbers of changes over N rows that take turns (fakemz --sequence): gaps and duplicates are counted\n"
     "  --no-subscribe (connect only) --timeline --dump N");
    return 1; }
  snprintf(nspat,128,"\"%s\":",o_nskey); nslen=strlen(nspat); if(o_rowkey){ snprintf(rowpat,128,"%s",o_rowkey); rowlen=strlen(rowpat);} if(o_regex&&regcomp(&re,o_regex,REG_EXTENDED)) die("bad regex");
  if(o_wave1>o_clients)o_wave1=o_clients; signal(SIGPIPE,SIG_IGN); signal(SIGINT,onint); signal(SIGTERM,onint); struct rlimit rl={1<<16,1<<16}; setrlimit(RLIMIT_NOFILE,&rl);
  C=calloc(o_clients,sizeof(cl)); for(int i=0;i<o_clients;i++){ C[i].idx=i; C[i].fd=-1; if(o_all_first) C[i].seen=calloc(o_ops,1); } unsteady_init(); ep=epoll_create1(0); T0=now=now_ns(); next_tl=T0+1000000000LL; lastmsg=now; if(o_tree) expand_tree();
  i64 rss0=npid?sum_rss():0; int started=0, to=0;
  for(int w=0;w<2&&!stop_;w++){   // waves
    int end=w?o_clients:o_wave1; if(w&&o_wave2_delay>0){ i64 e=now+(i64)(o_wave2_delay*1e9); while(now<e&&!stop_){ pump(5); tl_tick(); } } i64 t0=now; int from=started;
    while(!stop_){
      int allow=o_ramp>0?from+(int)((now-t0)/1e9*o_ramp)+1:end; if(allow>started+64) allow=started+64; if(allow>end)allow=end; while(started<allow){ C[started].wave=w; start_client(&C[started++]); }
      pump(started<end?1:5); tl_tick(); int need_=started==end, alive=nacked+0; if(need_&&alive+ndead>=end&&now-lastmsg>(i64)(o_quiet_ms*1e6)&&now-t0>(i64)(o_quiet_ms*1e6)) { int ok=1; if(o_snaprows>=0) for(int i=0;i<end;i++) if(C[i].st==S_SUB&&!C[i].t_snap&&!C[i].stalled) ok=0; if(o_all_first) for(int i=0;i<end;i++) if(C[i].st==S_SUB&&!C[i].stalled&&C[i].nseen<o_ops) ok=0; if(ok) break; }
      if(now-t0>(i64)(o_ready_timeout*1e9)){ to|=1<<w; break; }
    }
  }
  i64 t_ready=now; if(o_tree) expand_tree(); i64 rss_ready=npid?sum_rss():0; if(o_hold>0){ i64 e=now+(i64)(o_hold*1e9); while(now<e&&!stop_){ pump(10); tl_tick(); } }
  if(o_serial&&C[0].st==S_SUB){ i64 e=now+(i64)(o_ready_timeout*1e9); serial_next(&C[0]); while(serial_at<=o_serial&&now<e&&!stop_&&C[0].st!=S_DEAD){ pump(5); tl_tick(); } }
  unsteady_start(); i64 rss_hold=npid?sum_rss():0; char st0[1024],st1[1024],st2[1024]; ctl(o_ready_cmd,0,0);
  i64 e=(now=now_ns())+(i64)(o_warmup*1e9), stall_t=now+(i64)(o_stall_at*1e9); int stalled=0;
  for(int ph=0;ph<2&&!stop_;ph++){
    while(now<e&&!stop_){ i64 left=(e-now)/1000000; pump(left>10?10:left<1?1:(int)left); tl_tick(); if(o_stall&&!stalled&&now>=stall_t){ stalled=1; for(int i=o_clients-o_stall;i<o_clients;i++) if(i>=0&&C[i].st==S_SUB){ C[i].stalled=1; epoll_ctl(ep,EPOLL_CTL_DEL,C[i].fd,0); } } if(ndead>=o_clients) break; }
    if(ph==0){ in_window=1; ctl("stats",st0,1024); ctl(o_window_cmd,0,0); now=now_ns(); win0=now; break; }
  }
  double u0,s0,u1,s1,c0=sum_cpu(&u0,&s0),d0=sum_sched(),cb0[6],cb1[6]; core_busy(cb0); struct rusage ru0,ru1; getrusage(RUSAGE_SELF,&ru0); i64 rss_w0=npid?sum_rss():0, rssmax=rss_w0; e=win0+(i64)(o_duration*1e9); i64 nr=now;
  while(now<e&&!stop_){ i64 left=(e-now)/1000000; pump(left>10?10:left<1?1:(int)left); tl_tick(); if(o_stall&&!stalled&&now>=stall_t){ stalled=1; for(int i=o_clients-o_stall;i<o_clients;i++) if(i>=0&&C[i].st==S_SUB){ C[i].stalled=1; epoll_ctl(ep,EPOLL_CTL_DEL,C[i].fd,0); } } if(now-nr>200000000LL){ nr=now; if(npid){ i64 r=sum_rss(); if(r>rssmax)rssmax=r; } } if(ndead>=o_clients) break; }
  in_window=0; win1=now; double c1=sum_cpu(&u1,&s1),d1=sum_sched(); core_busy(cb1); getrusage(RUSAGE_SELF,&ru1); i64 rss_w1=npid?sum_rss():0; ctl("stats",st1,1024);
  ctl(o_end_cmd,0,0); now=now_ns(); if(unsteady_from) unsteady_stop(); i64 tend=now; draining=1; i64 m_before=msgs; e=now+(i64)(o_drain*1e9); lastmsg=now; i64 lm=now; while(now<e&&!stop_){ pump(10); tl_tick(); lm=lastmsg; if(now-lm>(i64)(o_quiet_ms*1e6)||ndead>=o_clients) break; }
  ctl("stats",st2,1024); double W=(win1-win0)/1e9, lc=(ru1.ru_utime.tv_sec-ru0.ru_utime.tv_sec)+(ru1.ru_stime.tv_sec-ru0.ru_stime.tv_sec)+(ru1.ru_utime.tv_usec-ru0.ru_utime.tv_usec+ru1.ru_stime.tv_usec-ru0.ru_stime.tv_usec)/1e6;
  long ev0=0,ev1=0,ev2=0; char*q; if((q=strstr(st0,"\"events\":")))ev0=atol(q+9); if((q=strstr(st1,"\"events\":")))ev1=atol(q+9); if((q=strstr(st2,"\"events\":")))ev2=atol(q+9); long qb1=0,sk=0; if((q=strstr(st1,"\"queued_bytes\":")))qb1=atol(q+15); if((q=strstr(st2,"\"skipped\":")))sk=atol(q+10);
  i64 mn=INT64_MAX,mx=0; int live=0; for(int i=0;i<o_clients;i++) if(!C[i].stalled){ live++; if(C[i].wmsgs<mn)mn=C[i].wmsgs; if(C[i].wmsgs>mx)mx=C[i].wmsgs; } if(!live)mn=0;
  printf("{\"clients\":%d,\"connected\":%d,\"subscribed\":%d,\"dead\":%d,\"errors\":%d,\"completes\":%d,\"ready_timeout\":%d,\"window_s\":%.3f,",o_clients,nconn,nacked,ndead,nerr,ncomplete,to,W);
  if(errsample[0]) pj("error_sample",errsample); if(closesample[0]) pj("close_sample",closesample);
  printf("\"msgs\":%ld,\"rows\":%ld,\"bytes\":%ld,\"msgs_per_s\":%.1f,\"rows_per_s\":%.1f,\"mb_per_s\":%.3f,\"client_msgs_min\":%ld,\"client_msgs_max\":%ld,\"max_message_bytes\":%ld,",wmsgs,wrows,wbytes,wmsgs/W,wrows/W,wbytes/W/1e6,mn,mx,maxmsg);
  printf("\"lat_ms\":{\"n\":%lu,\"mean\":%.3f,\"p50\":%.3f,\"p90\":%.3f,\"p95\":%.3f,\"p99\":%.3f,\"p999\":%.3f,\"max\":%.3f},",H.n,H.n?H.sum/H.n/1e6:-1,hq(&H,.5),hq(&H,.9),hq(&H,.95),hq(&H,.99),hq(&H,.999),H.max/1e6);
  if(HF.n) printf("\"first_ms\":{\"n\":%lu,\"mean\":%.3f,\"p50\":%.3f,\"p90\":%.3f,\"p99\":%.3f,\"max\":%.3f},",HF.n,HF.sum/HF.n/1e6,hq(&HF,.5),hq(&HF,.9),hq(&HF,.99),HF.max/1e6);
  printf("\"upstream_events_window\":%ld,\"upstream_events_per_s\":%.1f,\"upstream_events_total\":%ld,\"upstream_queued_bytes\":%ld,\"upstream_skipped\":%ld,",ev1-ev0,(ev1-ev0)/W,ev2,qb1,sk);
  printf("\"total\":{\"msgs\":%ld,\"rows\":%ld,\"bytes\":%ld,\"raw_bytes\":%ld,\"null_ns\":%ld,\"stale\":%ld},\"drain_s\":%.3f,\"drain_msgs\":%ld,",msgs,rows,bytes,rawbytes,nullns,staleskip,(lm-tend)/1e9,msgs-m_before);
  if(npid){ printf("\"server\":{\"cpu_s\":%.2f,\"user_s\":%.2f,\"sys_s\":%.2f,\"sched_s\":%.3f,\"cpu_share\":%.3f,\"cpu_s_per_m_msgs\":%.3f,\"cpu_s_per_m_rows\":%.3f,\"cpu_us_per_upstream_event\":%.3f,\"rss_kb\":{\"start\":%ld,\"ready\":%ld,\"after_hold\":%ld,\"w0\":%ld,\"w1\":%ld,\"max\":%ld,\"end\":%ld},\"alive\":%s},",c1-c0,u1-u0,s1-s0,d1-d0,(d1-d0)/W,wmsgs?(d1-d0)*1e6/wmsgs:-1,wrows?(d1-d0)*1e6/wrows:-1,ev1>ev0?(d1-d0)*1e6/(ev1-ev0):-1,rss0,rss_ready,rss_hold,rss_w0,rss_w1,rssmax,sum_rss(),sum_rss()>=0?"true":"false"); }
  printf("\"load_cpu_s\":%.3f,\"load_cpu_s_per_m_msgs\":%.3f,\"core_busy\":[%.3f,%.3f],\"core_steal\":[%.3f,%.3f],\"core_nice\":[%.3f,%.3f],",lc,wmsgs?lc*1e6/wmsgs:-1,(cb1[0]-cb0[0])/W,(cb1[1]-cb0[1])/W,(cb1[2]-cb0[2])/W,(cb1[3]-cb0[3])/W,(cb1[4]-cb0[4])/W,(cb1[5]-cb0[5])/W);
  for(int w=0;w<2;w++){ int n=0; double*a=calloc(o_clients,8),*f=calloc(o_clients,8),*l=calloc(o_clients,8),*s=calloc(o_clients,8); int na=0; i64 rmin=INT64_MAX,rmax=0; for(int i=0;i<o_clients;i++) if(C[i].wave==w&&C[i].t_sub){ n++; s[n-1]=(C[i].t_sub-C[i].t_conn)/1e6; f[n-1]=C[i].t_first?(C[i].t_first-C[i].t_sub)/1e6:-1; if(o_snaprows>=0&&C[i].t_snap) a[na++]=(C[i].t_snap-C[i].t_sub)/1e6; l[n-1]=C[i].t_last?(C[i].t_last-C[i].t_sub)/1e6:-1; if(C[i].rows<rmin)rmin=C[i].rows; if(C[i].rows>rmax)rmax=C[i].rows; }
    qsort(a,na,8,cmpd); qsort(f,n,8,cmpd); qsort(s,n,8,cmpd); if(n) printf("\"wave%d\":{\"n\":%d,\"handshake_ms_p50\":%.2f,\"handshake_ms_max\":%.2f,\"first_row_ms_p50\":%.2f,\"first_row_ms_max\":%.2f,\"snapshot_complete\":%d,\"snapshot_ms_p50\":%.2f,\"snapshot_ms_max\":%.2f,\"rows_min\":%ld,\"rows_max\":%ld},",w+1,n,s[n/2],s[n-1],f[n/2],f[n-1],na,na?a[na/2]:-1,na?a[na-1]:-1,rmin,rmax); free(a);free(f);free(l);free(s); }
  if(unsteady_from){ i64 last=0; if((q=strstr(st2,"\"upd\":"))) last=atol(q+6); unsteady_report(last); }
  if(first_dead) printf("\"first_dead_after_ready_s\":%.3f,",(first_dead-t_ready)/1e9);
  if(o_timeline){ printf("\"timeline\":["); for(int i=0;i<tl_n;i++) printf("%s{\"s\":%d,\"msgs\":%ld,\"rows\":%ld,\"p50\":%.2f,\"p99\":%.2f,\"max\":%.2f,\"rss_kb\":%ld,\"cpu\":%.2f}",i?",":"",i,tl_msgs[i],tl_rows[i],hq(&HS[i],.5),hq(&HS[i],.99),HS[i].max/1e6,tl_rss[i],tl_cpu[i]); printf("],"); }
  printf("\"ready_after_s\":%.3f}\n",(t_ready-T0)/1e9); return 0;
}
