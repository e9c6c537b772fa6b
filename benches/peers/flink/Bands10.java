import org.apache.flink.api.common.eventtime.*;
import org.apache.flink.api.common.functions.OpenContext;
import org.apache.flink.api.common.state.*;
import org.apache.flink.api.common.typeinfo.*;
import org.apache.flink.api.java.tuple.*;
import org.apache.flink.configuration.*;
import org.apache.flink.connector.file.src.FileSource;
import org.apache.flink.connector.file.src.reader.SimpleStreamFormat;
import org.apache.flink.core.fs.*;
import org.apache.flink.streaming.api.environment.StreamExecutionEnvironment;
import org.apache.flink.streaming.api.functions.*;
import org.apache.flink.streaming.api.functions.windowing.ProcessWindowFunction;
import org.apache.flink.streaming.api.windowing.assigners.TumblingEventTimeWindows;
import org.apache.flink.streaming.api.windowing.windows.TimeWindow;
import org.apache.flink.connector.file.sink.FileSink;
import org.apache.flink.api.common.serialization.SimpleStringEncoder;
import org.apache.flink.util.Collector;
import java.io.*;
import java.nio.*;
import java.time.Duration;
import java.util.*;

/** bands10 on Flink's DataStream. In: a folder with part-*.bin. Out: a folder of JSON lines. Arguments: both, parallelism, checkpoint interval in ms (0: none). */
public class Bands10 {
  static final double[][] SOS = {{0.021961263433741933,0.043922526867483866,0.021961263433741933,1.0,-0.6215552807265685,0.1305843533436152},{1.0,2.0,1.0,1.0,-0.8176588707461863,0.5194597165945805},{1.0,-2.0,1.0,1.0,-1.976514489017057,0.9766768504796793},{1.0,-2.0,1.0,1.0,-1.9904258738606502,0.990584060251276}};
  static final double[] W={0.8,-0.3,0.25,0.15,-0.2}; static final double B=-0.4;
  static final int[][] IDX={{5,40},{40,80},{80,150},{150,400}};
  static final double[] HANN=new double[2500]; static { for(int i=0;i<2500;i++) HANN[i]=0.5-0.5*Math.cos(2*Math.PI*i/2500); }
  public static class Fmt extends SimpleStreamFormat<Tuple3<String,Long,byte[]>> {
    public Reader<Tuple3<String,Long,byte[]>> createReader(Configuration c, FSDataInputStream s){ DataInputStream d=new DataInputStream(new BufferedInputStream(s,1<<20));
      return new Reader<>(){ byte[] h=new byte[4];
        public Tuple3<String,Long,byte[]> read() throws IOException { int a=d.read(); if(a<0) return null; int kl=a|d.read()<<8; byte[] k=d.readNBytes(kl); d.readFully(h); int vl=ByteBuffer.wrap(h).order(ByteOrder.LITTLE_ENDIAN).getInt(); byte[] v=d.readNBytes(vl);
          return Tuple3.of(new String(k),ByteBuffer.wrap(v).order(ByteOrder.LITTLE_ENDIAN).getLong(),v); }
        public void close() throws IOException { d.close(); } }; }
    public TypeInformation<Tuple3<String,Long,byte[]>> getProducedType(){ return Types.TUPLE(Types.STRING,Types.LONG,PrimitiveArrayTypeInfo.BYTE_PRIMITIVE_ARRAY_TYPE_INFO); }
  }
  public static class Filt extends KeyedProcessFunction<String,Tuple3<String,Long,byte[]>,Tuple3<String,Long,double[]>> {
    transient ValueState<double[]> st;
    public void open(OpenContext o){ st=getRuntimeContext().getState(new ValueStateDescriptor<>("zi",PrimitiveArrayTypeInfo.DOUBLE_PRIMITIVE_ARRAY_TYPE_INFO)); }
    public void processElement(Tuple3<String,Long,byte[]> m, Context c, Collector<Tuple3<String,Long,double[]>> out) throws Exception {
      double[] z=st.value(); if(z==null) z=new double[8]; ByteBuffer b=ByteBuffer.wrap(m.f2).order(ByteOrder.LITTLE_ENDIAN); int n=b.getShort(10)&0xffff; double[] y=new double[n];
      for(int i=0;i<n;i++){ double x=b.getShort(12+2*i)*0.005; for(int s=0;s<4;s++){ double[] q=SOS[s]; double o=q[0]*x+z[2*s]; z[2*s]=q[1]*x-q[4]*o+z[2*s+1]; z[2*s+1]=q[2]*x-q[5]*o; x=o; } y[i]=x; }
      st.update(z); out.collect(Tuple3.of(m.f0,m.f1,y)); }
  }
  // mixed radix (2,5) complex FFT, recursive decimation in time
  static final Map<Integer,double[]> TW=new HashMap<>();
  static double[] tw(int n){ return TW.computeIfAbsent(n,k->{ double[] t=new double[2*k]; for(int i=0;i<k;i++){ t[2*i]=Math.cos(-2*Math.PI*i/k); t[2*i+1]=Math.sin(-2*Math.PI*i/k);} return t;}); }
  static void fft(double[] x,int xo,int xs,double[] y,int yo,int n,double[] tmp){ if(n==1){ y[2*yo]=x[2*xo]; y[2*yo+1]=x[2*xo+1]; return; }
    int r=n%2==0?2:(n%5==0?5:n), m=n/r; for(int q=0;q<r;q++) fft(x,xo+q*xs,xs*r,y,yo+q*m,m,tmp); double[] t=tw(n);
    for(int k=0;k<m;k++){ for(int q=0;q<r;q++){ int j=q*k; double a=y[2*(yo+q*m+k)], b=y[2*(yo+q*m+k)+1]; tmp[2*q]=a*t[2*j]-b*t[2*j+1]; tmp[2*q+1]=a*t[2*j+1]+b*t[2*j]; }
      for(int p=0;p<r;p++){ double a=0,b=0; for(int q=0;q<r;q++){ int j=(p*q%r)*m; a+=tmp[2*q]*t[2*j]-tmp[2*q+1]*t[2*j+1]; b+=tmp[2*q]*t[2*j+1]+tmp[2*q+1]*t[2*j]; } y[2*(yo+p*m+k)]=a; y[2*(yo+p*m+k)+1]=b; } } }
  public static class Fin extends ProcessWindowFunction<Tuple3<String,Long,double[]>,String,String,TimeWindow> {
    transient double[] x,y,tmp;
    public void process(String key, Context c, Iterable<Tuple3<String,Long,double[]>> it, Collector<String> out){
      if(x==null){ x=new double[5000]; y=new double[5000]; tmp=new double[10]; synchronized(TW){ for(int n=2500;n>1;) { tw(n); n=n%2==0?n/2:n/5; } } }
      List<Tuple3<String,Long,double[]>> l=new ArrayList<>(); int n=0; for(var e:it){ l.add(e); n+=e.f2.length; } if(n!=2500) return; l.sort(Comparator.comparing(e->e.f1));
      double s=0; int i=0; for(var e:l) for(double v:e.f2){ s+=v*v; x[2*i]=v*HANN[i]; x[2*i+1]=0; i++; }
      double rms=Math.sqrt(s/2500); fft(x,0,1,y,0,2500,tmp); double z=W[0]*Math.log(rms+1e-9)+B; double[] b=new double[4];
      for(int k=0;k<4;k++){ for(int j=IDX[k][0];j<IDX[k][1];j++) b[k]+=y[2*j]*y[2*j]+y[2*j+1]*y[2*j+1]; z+=W[k+1]*Math.log(b[k]+1e-9); }
      out.collect("{\"k\":\""+key+"\",\"w\":"+c.window().getStart()+",\"n\":2500,\"rms\":"+rms+",\"bands\":["+b[0]+","+b[1]+","+b[2]+","+b[3]+"],\"p\":"+1/(1+Math.exp(-z))+"}"); }
  }
  public static void main(String[] a) throws Exception {
    Configuration cf=new Configuration(); int par=Integer.parseInt(a[2]); long cp=Long.parseLong(a[3]);
    cf.set(TaskManagerOptions.NUM_TASK_SLOTS,par); cf.setString("taskmanager.memory.network.min","64mb"); cf.setString("taskmanager.memory.network.max","64mb"); cf.setString("execution.checkpointing.dir","file://"+new File(a[1]).getAbsolutePath()+"-cp"); cf.setString("rest.port","0");
    StreamExecutionEnvironment env=StreamExecutionEnvironment.createLocalEnvironment(par,cf); if(cp>0) env.enableCheckpointing(cp); env.getConfig().enableObjectReuse();
    FileSource<Tuple3<String,Long,byte[]>> src=FileSource.forRecordStreamFormat(new Fmt(),new Path(a[0])).build();
    var s=env.fromSource(src,WatermarkStrategy.<Tuple3<String,Long,byte[]>>forMonotonousTimestamps().withTimestampAssigner((e,t)->e.f1).withIdleness(Duration.ofSeconds(5)),"in");
    s.keyBy(e->e.f0).process(new Filt()).returns(Types.TUPLE(Types.STRING,Types.LONG,PrimitiveArrayTypeInfo.DOUBLE_PRIMITIVE_ARRAY_TYPE_INFO)).keyBy(e->e.f0).window(TumblingEventTimeWindows.of(Duration.ofSeconds(10))).process(new Fin())
     .sinkTo(FileSink.forRowFormat(new Path(a[1]),new SimpleStringEncoder<String>()).build());
    env.execute("bands10"); }
}
