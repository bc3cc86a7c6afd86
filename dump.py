# symbols of JIT code: after run, walk the object of the cfunc library
import numba.core.codegen as cg
orig=cg.CPUCodeLibrary._finalize_final_module if hasattr(cg.CPUCodeLibrary,'_finalize_final_module') else None
